# C and C++ with glibc and libc++, C with musl: the same source prints the same.
"$PROGRAMS/c_program"; echo "status $?"
"$PROGRAMS/musl_c_program"; echo "status $?"
"$PROGRAMS/cpp_program"; echo "status $?"
"$PROGRAMS/c_program" > with-glibc; "$PROGRAMS/musl_c_program" > with-musl
cmp with-glibc with-musl && echo "both libraries agree"
seq 1 1000 | "$PROGRAMS/cpp_program" | sha256sum
"$PROGRAMS/c_program" > /dev/full; echo "full: $?"
"$PROGRAMS/cpp_program" > /dev/full; echo "full: $?"
