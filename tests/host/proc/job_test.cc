// Does process 1 understand what tools/job.py writes, and refuse what it does not?
#include "proc/init/job.h"

#include <gtest/gtest.h>

#include <string>

namespace holstein {
namespace {

std::string record(const std::string& key, const std::string& value) {
  return key + std::string(1, '\0') + value + std::string(1, '\0');
}

TEST(Job, EverythingIsRead) {
  const std::string text = record("program", "/bin/busybox") + record("argv", "busybox") +
                           record("argv", "") + record("argv", "a\nb") + record("env", "A=1=2") +
                           record("cwd", "/tmp") + record("stdin", "closed") +
                           record("stdout", "tty") + record("stderr", "stream") +
                           record("rows", "25") + record("columns", "80");
  std::string problem;
  const std::optional<Job> job = parse_job(text, problem);
  ASSERT_TRUE(job.has_value()) << problem;
  EXPECT_EQ(job->program, "/bin/busybox");
  EXPECT_EQ(job->arguments, (std::vector<std::string>{"busybox", "", "a\nb"}));
  EXPECT_EQ(job->environment, std::vector<std::string>{"A=1=2"});
  EXPECT_EQ(job->directory, "/tmp");
  EXPECT_EQ(job->streams[0], StreamKind::kClosed);
  EXPECT_EQ(job->streams[1], StreamKind::kTerminal);
  EXPECT_EQ(job->streams[2], StreamKind::kStream);
  EXPECT_EQ(job->rows, 25);
  EXPECT_EQ(job->columns, 80);
}

TEST(Job, DamagedFilesAreRefused) {
  std::string problem;
  EXPECT_FALSE(parse_job("", problem).has_value());
  EXPECT_FALSE(parse_job("program", problem).has_value());
  EXPECT_FALSE(parse_job(record("program", "/x") + "argv", problem).has_value());
  EXPECT_FALSE(parse_job(record("argv", "x"), problem).has_value());
  EXPECT_FALSE(parse_job(record("program", "/x") + record("colour", "red"), problem).has_value());
  EXPECT_FALSE(parse_job(record("program", "/x") + record("stdin", "file"), problem).has_value());
  EXPECT_FALSE(parse_job(record("program", "/x") + record("rows", "70000"), problem).has_value());
  EXPECT_FALSE(parse_job(record("program", "/x") + record("rows", ""), problem).has_value());
}

}  // namespace
}  // namespace holstein
