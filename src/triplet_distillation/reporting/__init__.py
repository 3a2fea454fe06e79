"""Tables and figures, from the files that evaluation, profiling and training wrote."""
