"""Figures, one file each: ``make bench``. A file has ``main(*, large)``, which prints its figure beside its own baseline."""
