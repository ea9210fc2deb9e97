"""Two quantities side by side: the co-design chain, candidates, pages."""
