"""Words and vectors together: full-text ranking, fusion, diversity, grouping."""
