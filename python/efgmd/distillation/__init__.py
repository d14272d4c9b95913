"""Iterative distillation: the student's own dynamics choose what its teacher labels next."""
