// What does the first line of a script say?
#include "proc/script.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace holstein {
namespace {

struct Parsed {
  Result<bool> result = false;
  std::string interpreter;
  std::string option;
};

Parsed parse(std::string_view text) {
  ScriptHead head;
  const std::size_t count = std::min(text.size(), kScriptHeadBytes);
  std::memcpy(head.line, text.data(), count);
  Parsed parsed;
  parsed.result = parse_script_head(count, head);
  parsed.interpreter = head.interpreter;
  parsed.option = head.option;
  return parsed;
}

TEST(Script, OtherFilesAreNone) {
  EXPECT_FALSE(*parse("").result);
  EXPECT_FALSE(*parse("#").result);
  EXPECT_FALSE(*parse("\x7f"
                      "ELF")
                    .result);
  EXPECT_FALSE(*parse(" #!/bin/sh\n").result);
}

TEST(Script, InterpreterAndOneOption) {
  Parsed parsed = parse("#!/bin/sh\necho");
  EXPECT_TRUE(*parsed.result);
  EXPECT_EQ(parsed.interpreter, "/bin/sh");
  EXPECT_EQ(parsed.option, "");
  parsed = parse("#! \t/usr/bin/env -S  bash -x \t\nrest");
  EXPECT_EQ(parsed.interpreter, "/usr/bin/env");
  EXPECT_EQ(parsed.option, "-S  bash -x");
}

TEST(Script, TheLastLineNeedsNoNewline) {
  const Parsed parsed = parse("#!/bin/sh");
  EXPECT_TRUE(*parsed.result);
  EXPECT_EQ(parsed.interpreter, "/bin/sh");
}

TEST(Script, NoInterpreterIsAnError) {
  EXPECT_EQ(parse("#!").result.error(), Errno::kENOEXEC);
  EXPECT_EQ(parse("#! \t \n/bin/sh").result.error(), Errno::kENOEXEC);
}

TEST(Script, ANameThatIsCutByTheBufferIsAnError) {
  const std::string longest(kScriptHeadBytes - 2, 'x');
  EXPECT_EQ(parse("#!" + longest + "yy\n").result.error(), Errno::kENOEXEC);
  // One byte less, and the newline is in the buffer.
  const Parsed parsed = parse("#!" + longest.substr(1) + "\n");
  EXPECT_TRUE(*parsed.result);
  EXPECT_EQ(parsed.interpreter.size(), kScriptHeadBytes - 3);
}

TEST(Script, AnOptionThatIsCutIsCut) {
  const Parsed parsed = parse("#!/bin/sh " + std::string(300, 'o') + "\n");
  EXPECT_TRUE(*parsed.result);
  EXPECT_EQ(parsed.option.size(), kScriptHeadBytes - 10);
}

}  // namespace
}  // namespace holstein
