"""Use cases, one noun a file: each public function checks, writes rows and admits an operation in one transaction."""
