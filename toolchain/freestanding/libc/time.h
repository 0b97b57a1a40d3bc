// What libc++'s own headers need of <time.h>.
#pragma once

typedef long long time_t;
