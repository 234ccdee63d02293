/* How much room files take, and what a call would add to it. Looks, and changes nothing; from any context. */
#ifndef FL_GROWTH_H
#define FL_GROWTH_H
#include "effects.h"

#pragma GCC visibility push(hidden)

/* A regular file, or none (`is_file` 0). */
struct fl_file { uint64_t size, allocated, links, id; int is_file; };

struct fl_file fl_file_of(int fd);
struct fl_file fl_file_named(int dirfd, const char *path, int follow);

/* Bytes of data: holes are none, and neither is what is reserved beyond the end. */
uint64_t fl_file_data(const struct fl_file *file);

/* Where a call that writes begins, and how many bytes it can move at most. */
uint64_t fl_write_start(const struct fl_frame *f, uint64_t size);
uint64_t fl_write_bytes(const struct fl_frame *f);

/* What has no room yet of this stretch of the file. Of a sparse file, where its file system does not tell, all that may be. */
uint64_t fl_growth(int fd, const struct fl_file *file, uint64_t start, uint64_t bytes);

/* What the stretch really took, as the file was `before` and is now. */
uint64_t fl_grown(int fd, const struct fl_file *before, uint64_t start, uint64_t bytes);

#pragma GCC visibility pop

#endif
