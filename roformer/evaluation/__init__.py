"""From finished runs to results files, and from results files to a comparison."""
