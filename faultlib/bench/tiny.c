/* The smallest dynamic program: what starting it costs is the loader, and whatever was preloaded. */
int main(void) { return 0; }
