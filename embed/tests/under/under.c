/* Preloaded into programs under test: a worker that was executed anew executes itself once more, under the command in
 * WORKHIVE_TEST_UNDER (valgrind and its options, one word each, with a blank between them). The master does without:
 * valgrind knows no process descriptors (pidfd_open). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 256

__attribute__((constructor)) static void go_under(void)
{
    static char line[65536];
    char *words[MOST + 1];
    const char *under = getenv("WORKHIVE_TEST_UNDER"), *pid = getenv("WORKHIVE_PID");
    if (!under || !pid || !getenv("WORKHIVE_SEAT") || atoi(pid) != getpid())
        return;
    char *command = strdup(under), exe[4096];
    ssize_t exe_len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (!command || exe_len < 0 || len <= 0)
        _exit(126);
    exe[exe_len] = 0;
    int count = 0;
    for (char *word = strtok(command, " "); word && count < MOST; word = strtok(NULL, " "))
        words[count++] = word;
    /* Python finds its environment by the name that it was called by. */
    words[count++] = strchr(line, '/') && !access(line, X_OK) ? line : exe;
    for (char *word = line + strlen(line) + 1; word < line + len && count < MOST; word += strlen(word) + 1)
        words[count++] = word;
    words[count] = NULL;
    unsetenv("WORKHIVE_TEST_UNDER");
    unsetenv("LD_PRELOAD");
    execvp(words[0], words);
    perror(words[0]);
    _exit(126);
}
