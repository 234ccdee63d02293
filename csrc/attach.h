/* What a process does to join its session: find it (place.c), take its slot (slot.c). For attach.c. */
#ifndef FL_ATTACH_H
#define FL_ATTACH_H
#include "abi.h"

#pragma GCC visibility push(hidden)
/* place.c. Where a session is, as the shim's own path says. */
struct fl_place { int pid, fd; uint64_t uid; uint32_t launch; };
/* Whether the path is one of ours. */
int fl_read_place(const char *path, struct fl_place *place);
/* Null: the session is gone, or this is none of its processes. *number: our own where the controller lives, 0 if nobody said it. */
struct fl_ctl *fl_map_block(const char *link, const struct fl_place *place, int *number);

/* slot.c. The number by which a process is known where the controller lives; the slot of an image that has just begun; its last
 * touch, which makes it seen. */
int fl_known_as(int pid);
struct fl_proc *fl_claim_image(const struct fl_place *place, int pid);
void fl_go_live(struct fl_proc *proc);
#pragma GCC visibility pop

#endif
