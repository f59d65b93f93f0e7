// The fake kernel's tests come with the FIB's own branch.
