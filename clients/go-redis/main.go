// Proves that go-redis works against the server at WEIR_ADDR, in RESP3 (its default) and in RESP2.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

func main() {
	address := os.Getenv("WEIR_ADDR")
	if address == "" {
		fmt.Fprintln(os.Stderr, "WEIR_ADDR is not set; give it the address of a server, such as 127.0.0.1:6379")
		os.Exit(2)
	}
	story, err := readStory(filepath.Join("..", "story.json"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	newBench := func(protocol int) *bench {
		return &bench{
			Context: context.Background(), story: story, address: address, protocol: protocol, prefix: newPrefix(),
		}
	}
	var reached release
	if err := runCase(proofCase{run: func(b *bench) { reached = b.serverRelease() }}, newBench(3)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cases := slices.Concat(consumerCases, streamCases, upTo(reached))
	runs := []struct {
		label    string
		cases    []proofCase
		protocol int
	}{
		{"go-redis RESP3", cases, 3},
		{"go-redis RESP2", cases, 2},
		{"go-redis time-outs", timeOutCases, 3},
	}
	passed := make([]bool, len(runs))
	var all sync.WaitGroup
	for i, run := range runs {
		all.Go(func() {
			passed[i] = prove(run.label, run.cases, func() *bench { return newBench(run.protocol) })
		})
	}
	all.Wait()
	if slices.Contains(passed, false) {
		os.Exit(1)
	}
}
