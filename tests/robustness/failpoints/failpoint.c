/* Counts what a process does to an SQLite database's files, and ends the process at the n-th: points.py says how.
 *
 * Preloaded into the server, whose writes all come through the functions at the end. It does nothing until it is armed.
 * A power failure is the process's death and then the undoing of all that was not synced. What is done to directories
 * (a file made or deleted) is taken to be on disk at once.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DB, WAL, JOURNAL, FILES };
enum { WRITE, SYNC, KINDS };

/* A write or a truncation that is not synced yet. It left the file `size` long before, and then its `new_` bytes stood
 * where `old` had been; `cut`: it left nothing there. */
typedef struct Change {
    struct Change *earlier, *later;
    int file;
    off_t at, size;
    size_t old_length, new_length;
    bool cut;
    char *old, *new_;
} Change;

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char paths[FILES][PATH_MAX];
static bool armed;
static int kind = -1;
static char mode;
static long n;
static long counts[KINDS];
static Change *newest;

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void pwrite_all(int fd, const char *bytes, size_t length, off_t at) {
    while (length > 0) {
        ssize_t done = syscall(SYS_pwrite64, fd, bytes, length, at);
        if (done <= 0) return;
        bytes += done, length -= done, at += done;
    }
}

static void undo(const Change *change) {
    int fd = syscall(SYS_openat, AT_FDCWD, paths[change->file], O_RDWR);
    if (fd < 0) return;
    syscall(SYS_ftruncate, fd, change->size);
    pwrite_all(fd, change->old, change->old_length, change->at);
    syscall(SYS_close, fd);
}

static void redo(const Change *change) {
    int fd = syscall(SYS_openat, AT_FDCWD, paths[change->file], O_RDWR);
    if (fd < 0) return;
    if (change->cut) syscall(SYS_ftruncate, fd, change->at);
    pwrite_all(fd, change->new_, change->new_length, change->at);
    syscall(SYS_close, fd);
}

/* The power fails. `every_other`: half of what was not synced has got to the disk all the same, and not in order.
 *
 * A copy of the process does the undoing after the process is dead, so that nobody can read in between. It holds the
 * process's sockets till then: whoever waits for their end sees the disk as the failure left it. */
static void power_off(bool every_other) {
    pid_t parent = getpid();
    if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) != 0) die();
    kill(parent, SIGKILL);
    while (syscall(SYS_getppid) == parent) syscall(SYS_sched_yield);
    Change *oldest = NULL;
    for (Change *change = newest; change != NULL; change = change->earlier) {
        undo(change);
        oldest = change;
    }
    int number = 0;
    for (Change *change = oldest; every_other && change != NULL; change = change->later)
        if (number++ % 2 == n % 2) redo(change);
    syscall(SYS_exit_group, 0);
}

static int file_of(int fd) {
    struct stat status;
    char link[64], path[PATH_MAX];
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return -1;
    path[length] = 0;
    for (int file = 0; file < FILES; file++)
        if (strcmp(path, paths[file]) == 0) return file;
    return -1;
}

static void note(int fd, int file, off_t at, size_t old_length, const char *bytes, size_t length, bool cut) {
    struct stat status;
    fstat(fd, &status);
    Change *change = calloc(1, sizeof *change);
    *change = (Change){.earlier = newest, .file = file, .at = at, .size = status.st_size, .cut = cut};
    change->old = malloc(old_length + 1);
    ssize_t got = syscall(SYS_pread64, fd, change->old, old_length, at);
    change->old_length = got > 0 ? got : 0;
    change->new_ = malloc(length + 1);
    if (length > 0) memcpy(change->new_, bytes, length);
    change->new_length = length;
    if (newest != NULL) newest->later = change;
    newest = change;
}

/* The file's changes are on disk, or the file is deleted: nothing of them can be undone any more. */
static void forget(int file) {
    Change **link = &newest, *later = NULL;
    while (*link != NULL) {
        Change *change = *link;
        if (change->file == file) {
            *link = change->earlier;
            free(change->old), free(change->new_), free(change);
        } else {
            change->later = later;
            later = change;
            link = &change->earlier;
        }
    }
}

static bool is_due(int of) {
    return ++counts[of] == n && of == kind;
}

static ssize_t write_at(int fd, const void *bytes, size_t length, off_t at) {
    int file = armed ? file_of(fd) : -1;
    if (file < 0) return syscall(SYS_pwrite64, fd, bytes, length, at);
    pthread_mutex_lock(&turn);
    if (is_due(WRITE)) {
        if (mode == 'm') power_off(true);
        if (mode == 't') pwrite_all(fd, bytes, length / 2, at);
        die();
    }
    note(fd, file, at, length, bytes, length, false);
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, length, at);
    pthread_mutex_unlock(&turn);
    return done;
}

static int truncated(int fd, off_t length) {
    int file = armed ? file_of(fd) : -1;
    if (file < 0) return syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&turn);
    if (is_due(WRITE)) {
        if (mode == 'm') power_off(true);
        die();
    }
    struct stat status;
    fstat(fd, &status);
    note(fd, file, length, status.st_size > length ? status.st_size - length : 0, NULL, 0, true);
    int result = syscall(SYS_ftruncate, fd, length);
    pthread_mutex_unlock(&turn);
    return result;
}

static int synced(int fd, long number) {
    int file = armed ? file_of(fd) : -1;
    if (file < 0) return syscall(number, fd);
    pthread_mutex_lock(&turn);
    bool due = is_due(SYNC);
    if (due && mode == 'k') die();
    if (due && mode != 's') power_off(mode == 'm');
    /* The disk itself is not troubled: it would take most of the time, and only this file's failures are looked at. */
    forget(file);
    if (due) power_off(false);
    pthread_mutex_unlock(&turn);
    return 0;
}

/* What the launcher calls. */

void failpoint_arm(const char *db, int of, char how, long at) {
    snprintf(paths[DB], PATH_MAX, "%s", db);
    snprintf(paths[WAL], PATH_MAX, "%s-wal", db);
    snprintf(paths[JOURNAL], PATH_MAX, "%s-journal", db);
    kind = of, mode = how, n = at;
    armed = true;
}

long failpoint_count(int of) { return counts[of]; }

void failpoint_power_off(void) {
    pthread_mutex_lock(&turn);
    power_off(false);
}

/* What SQLite calls. */

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) { return write_at(fd, bytes, length, at); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return write_at(fd, bytes, length, at); }
int ftruncate64(int fd, off64_t length) { return truncated(fd, length); }
int ftruncate(int fd, off_t length) { return truncated(fd, length); }
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

int unlink(const char *path) {
    int file = -1;
    for (int each = 0; armed && each < FILES; each++)
        if (strcmp(path, paths[each]) == 0) file = each;
    if (file < 0) return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&turn);
    if (is_due(WRITE)) {
        if (mode == 'm') power_off(true);
        die();
    }
    forget(file);
    int result = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_unlock(&turn);
    return result;
}
