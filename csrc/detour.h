/* arch/: a function of the program replaced, and put back. Single-threaded only. */
#ifndef FL_DETOUR_H
#define FL_DETOUR_H

#pragma GCC visibility push(hidden)
#define FL_DETOUR_BYTES 14
/* Has the function at `at` be `to`; `saved` keeps what was there. 0: it cannot be done. */
int fl_detour(void *at, const void *to, unsigned char *saved);
void fl_undo_detour(void *at, const unsigned char *saved);
#pragma GCC visibility pop

#endif
