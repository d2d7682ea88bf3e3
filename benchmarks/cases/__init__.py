"""What is measured, a module a case; each gives samples, a flat dictionary each."""
