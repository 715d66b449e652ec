//! What is wrong with a signature, and how it is mended.
