"""What a study means: reads its files, imports nothing of the packages that wrote them, unpickles nothing."""
