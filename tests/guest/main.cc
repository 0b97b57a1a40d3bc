// Runs the tests; or, where a test executed this program again, the part that the test asked for.
//
// After each test no child may be left and no descriptor may have leaked: what one test forgets
// would be charged to another.
#include <errno.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/guest/executed.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

int lowest_free_descriptor() {
  const int number = dup(STDOUT_FILENO);
  close(number);
  return number;
}

class Housekeeping : public testing::EmptyTestEventListener {
 public:
  void OnTestStart(const testing::TestInfo&) override {
    free_descriptor_ = lowest_free_descriptor();
    // What a test prints in a child must not stand in the output twice.
    fflush(stdout);
  }
  void OnTestEnd(const testing::TestInfo&) override {
    if (waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD) {
      ADD_FAILURE() << "the test left a child behind";
    }
    if (lowest_free_descriptor() != free_descriptor_) {
      ADD_FAILURE() << "the test left a descriptor open";
    }
  }

 private:
  int free_descriptor_ = -1;
};

}  // namespace
}  // namespace holstein::guest

int main(int argc, char** argv, char** envp) {
  using namespace holstein::guest;
  if (is_executed_part(argc, argv)) {
    return run_executed_part(argc, argv, envp);
  }
  set_own_path(argv[0]);
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new Housekeeping);
  return RUN_ALL_TESTS();
}
