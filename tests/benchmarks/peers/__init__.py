"""The same jobs on other engines. Each is a program of its own; none imports Carillon."""
