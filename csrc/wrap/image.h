/* What an executable file is, as far as an exec has to know. */
#ifndef FL_IMAGE_H
#define FL_IMAGE_H

enum fl_loader { FL_LOADER_GLIBC, FL_LOADER_NONE, FL_LOADER_OTHER };

struct fl_image {
    enum fl_loader loader;
    char first[32]; /* a library that insists on coming before every preload: a sanitizer's runtime; empty: none */
};

/* Looks at the file; a script's image is its interpreter's. What cannot be read counts as glibc's. From any context. */
#pragma GCC visibility push(hidden)
void fl_look_at_image(const char *path, struct fl_image *image);
int fl_is_sanitizer(const char *name, unsigned long n);
#pragma GCC visibility pop

#endif
