// assert() for third-party headers (boost::intrusive): ends where libc++'s own hardening checks
// end, in a function that the kernel defines as a panic. May be included again, as C has it.
#include <__verbose_abort>

#undef assert
#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(condition)                                                                 \
  ((condition) ? (void)0                                                                  \
               : ::std::__libcpp_verbose_abort("%s:%d: assertion failed: %s\n", __FILE__, \
                                               __LINE__, #condition))
#endif
