#define _GNU_SOURCE
#include "library.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct library lib;

/* WORKHIVE_LIBRARY, or else the file beside the addon. */
static const char *library_path(char *path, size_t room)
{
    const char *told = getenv("WORKHIVE_LIBRARY");
    if (told != NULL && told[0] != '\0')
        return told;
    Dl_info addon;
    if (dladdr((void *)library_open, &addon) == 0 || addon.dli_fname == NULL)
        return "libworkhive.so";
    const char *slash = strrchr(addon.dli_fname, '/');
    int folder = slash == NULL ? 0 : (int)(slash - addon.dli_fname) + 1;
    snprintf(path, room, "%.*slibworkhive.so", folder, addon.dli_fname);
    return path;
}

int library_open(char *why, size_t room)
{
    char beside[PATH_MAX];
    const char *path = library_path(beside, sizeof beside);
    void *opened = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (opened == NULL) {
        snprintf(why, room, "the workhive library cannot be loaded: %s. It is built for Linux with glibc; "
                            "WORKHIVE_LIBRARY can name another file", dlerror());
        return 0;
    }
    /* Before all else: what has another ABI may have other functions. */
    __typeof__(wh_abi_version) *abi = (__typeof__(wh_abi_version) *)dlsym(opened, "wh_abi_version");
    if (abi == NULL || abi() != WH_ABI_VERSION) {
        snprintf(why, room, "%s has ABI version %u, and this package needs %u: install a library and a package of one release",
                 path, abi == NULL ? 0 : (unsigned)abi(), (unsigned)WH_ABI_VERSION);
        return 0;
    }
#define X(name) \
    lib.name = (__typeof__(name) *)dlsym(opened, #name); \
    if (lib.name == NULL) { \
        snprintf(why, room, "%s has no function " #name ": it is older than this package", path); \
        return 0; \
    }
    WH_FUNCTIONS(X)
#undef X
    return 1;
}
