"""Running a code's programs: what there is to start, one stage, a run of several."""
