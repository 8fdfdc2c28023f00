/* steady.c: preloaded into the server, so that only the box's clock is stepped: its time of day is a constant beside the
 * monotonic clock. A server is another machine. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/time.h>
#include <time.h>

#define BEGAN 1900000000 /* any time after the programs were built */

time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t seconds = BEGAN + now.tv_sec;
    if (told)
        *told = seconds;
    return seconds;
}

int gettimeofday(struct timeval *restrict told, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_MONOTONIC, &now);
    told->tv_sec = BEGAN + now.tv_sec;
    told->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    struct timespec then = *until;
    then.tv_sec -= BEGAN;
    return pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &then);
}
