// Shared by the tests that run programs.
