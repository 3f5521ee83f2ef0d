"""What a network is fed: data sets as they lie on disk, decoded and resized once, split, batched, augmented."""
