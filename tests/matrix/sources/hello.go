package main

import "os"

func main() {
	if os.WriteFile("out", []byte("hi\n"), 0o644) != nil {
		os.Exit(1)
	}
}
