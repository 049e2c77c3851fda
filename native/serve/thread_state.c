/*
 * Pins the Python thread state of a server's worker thread.
 *
 * nbdkit's Python plugin wraps each callback in PyGILState_Ensure/Release. On a thread that Python did not make, that
 * creates and destroys a thread state every time, which costs more than the callback. One more Ensure, kept until the
 * thread ends, makes the rest cheap. It must be given back by __cxa_thread_atexit_impl: a pthread key's destructor runs
 * after glibc has cleared Python's own key, and Python then aborts; never giving it back leaks 5 KB a thread.
 *
 * Only the stable C API is used, declared here, so that this file needs no Python.h.
 */
#include "serve/vol.h"

extern int PyGILState_Ensure(void);
extern void PyGILState_Release(int state);
extern void *PyEval_SaveThread(void);
extern int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *dso_symbol);
extern void *__dso_handle __attribute__((__visibility__("hidden")));

enum { GIL_LOCKED = 0, GIL_UNLOCKED = 1 };

static __thread int pinned;

static void unpin(void *unused)
{
	(void)unused;
	PyGILState_Ensure();
	PyGILState_Release(GIL_LOCKED);
	PyGILState_Release(GIL_UNLOCKED);
}

/* Called without the GIL, because cffi releases it for every call. */
void nbdsvc_pin_thread(void)
{
	if (pinned)
		return;
	pinned = 1;
	PyGILState_Ensure();
	PyEval_SaveThread();
	__cxa_thread_atexit_impl(unpin, 0, &__dso_handle);
}
