// The small program of the exec rows: it does nothing.
int main(void) { return 0; }
