// The parts of this program that run when a test executes it again.
#pragma once

namespace holstein::guest {

// True if argv asks for a part ("@report" and the like as argv[0] or, for scripts, argv[1]) instead
// of the tests.
bool is_executed_part(int argc, char** argv);
int run_executed_part(int argc, char** argv, char** envp);

}  // namespace holstein::guest
