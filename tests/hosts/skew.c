/* A clock that is off, for one process: what Host.skew_clock puts into LD_PRELOAD.
 *
 * /etc/clock-skew holds nanoseconds to add to real time, and is looked at again once a second, so a running program
 * sees its clock jump. Only the three calls that tell real time are replaced: waits, sleeps, file times and the time
 * since boot stay true (libfaketime shifts those as well; Python's time.sleep and systemd's tools fail under it).
 *
 * Compiled by tcc inside the hosts' root, without headers: 64-bit Linux, the C library's own symbols.
 */
typedef struct { long seconds, nanoseconds; } Timespec;
typedef struct { long seconds, microseconds; } Timeval;

extern void *dlsym(void *handle, const char *name);
extern int open(const char *path, int flags, ...);
extern long read(int file, void *buffer, unsigned long size);
extern int close(int file);
extern int *__errno_location(void);

enum { REALTIME = 0, MONOTONIC_COARSE = 6, REALTIME_COARSE = 5, TAI = 11, CLOSE_ON_EXEC = 02000000 };
#define NEXT ((void *)-1L)
#define SECOND 1000000000L

static int (*true_clock)(int, Timespec *);
static volatile long skew, looked_at = -1;

static void look(void) {
    char text[32];
    int kept = *__errno_location(), file = open("/etc/clock-skew", CLOSE_ON_EXEC);
    if (file >= 0) {
        long size = read(file, text, sizeof text), value = 0, sign = 1, i = 0;
        if (size > 0 && (text[0] == '-' || text[0] == '+')) sign = text[i++] == '-' ? -1 : 1;
        for (; i < size && text[i] >= '0' && text[i] <= '9'; i++) value = value * 10 + (text[i] - '0');
        skew = sign * value;
        close(file);
    }
    *__errno_location() = kept;
}

int clock_gettime(int clock, Timespec *now) {
    Timespec since_boot;
    int result;
    if (!true_clock) true_clock = dlsym(NEXT, "clock_gettime");
    result = true_clock(clock, now);
    if (result != 0 || (clock != REALTIME && clock != REALTIME_COARSE && clock != TAI)) return result;
    true_clock(MONOTONIC_COARSE, &since_boot);
    if (since_boot.seconds != looked_at) {
        looked_at = since_boot.seconds;
        look();
    }
    now->seconds += skew / SECOND;
    now->nanoseconds += skew % SECOND;
    if (now->nanoseconds >= SECOND) { now->seconds++; now->nanoseconds -= SECOND; }
    if (now->nanoseconds < 0) { now->seconds--; now->nanoseconds += SECOND; }
    return 0;
}

int gettimeofday(Timeval *now, void *zone) {
    Timespec precise;
    int result = clock_gettime(REALTIME, &precise);
    if (result == 0 && now) {
        now->seconds = precise.seconds;
        now->microseconds = precise.nanoseconds / 1000;
    }
    return result;
}

long time(long *seconds) {
    Timespec precise;
    clock_gettime(REALTIME_COARSE, &precise);
    if (seconds) *seconds = precise.seconds;
    return precise.seconds;
}
