// SPDX-License-Identifier: Apache-2.0
// ThreadSanitizer remembers who made a descriptor until it sees it closed. libuv closes by syscall(SYS_close), which it does not
// see, so the number, given anew to somebody else, looks like a race. Here the sanitizer is told.
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

void __sanitizer_syscall_pre_impl_close(long fd);

typedef long (*call_fn)(long number, ...);

static call_fn call_of_libc;

__attribute__((constructor)) static void find_call(void)
{
    call_of_libc = (call_fn)dlsym(RTLD_NEXT, "syscall");
}

long syscall(long number, ...)
{
    if (!call_of_libc)
        find_call(); // another library's constructor came first
    if (!call_of_libc)
        abort();
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_close)
        __sanitizer_syscall_pre_impl_close(a[0]);
    return call_of_libc(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
