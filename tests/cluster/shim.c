/* Preloaded into a server: sets its clock ahead, and makes each fdatasync late, while it runs.
 *
 * The file that COMET_CHAT_SHIM names has two 64-bit numbers: by how many microseconds the system's
 * clock is ahead, and how many fdatasync takes longer. It is mapped, so that they count at once.
 *
 *   cc -shared -fPIC -O2 -o shim.so shim.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t nothing[2];
static volatile int64_t *numbers = nothing;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("COMET_CHAT_SHIM");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *found = mmap(NULL, sizeof nothing, PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED)
        numbers = found;
    close(file);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int result = NEXT(gettimeofday)(now, zone);
    int64_t us = now->tv_sec * 1000000LL + now->tv_usec + numbers[0];
    now->tv_sec = us / 1000000;
    now->tv_usec = us % 1000000;
    return result;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = NEXT(clock_gettime)(clock, now);
    if (clock == CLOCK_REALTIME)
        now->tv_sec += numbers[0] / 1000000;
    return result;
}

time_t time(time_t *now)
{
    time_t found = NEXT(time)(NULL) + numbers[0] / 1000000;
    if (now)
        *now = found;
    return found;
}

/* Of PostgreSQL's this is the log. After a crash it syncs each file of a thousand, by fsync. */
int fdatasync(int file)
{
    if (numbers[1])
        usleep(numbers[1]);
    return NEXT(fdatasync)(file);
}
