"""From raw images to normalised splits in Parquet files, and from pictures to digits."""
