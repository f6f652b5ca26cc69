package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const waitMax = 10 * time.Second

// events is what every client library reads: the story's events, as this library answers them.
type events struct {
	Group            string
	Consumer         string
	DeadLetterReason string
	Malformed        string
	FailsOnce        string
	Handled          []string
	Events           []struct {
		ID     string
		Fields [][2]string
	}
	messages []redis.XMessage
	ids      []string
}

func readStory(path string) (*events, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	story := new(events)
	if err := json.Unmarshal(text, story); err != nil {
		return nil, err
	}
	for _, event := range story.Events {
		values := make(map[string]any, len(event.Fields))
		for _, field := range event.Fields {
			values[field[0]] = field[1]
		}
		story.messages = append(story.messages, redis.XMessage{ID: event.ID, Values: values})
		story.ids = append(story.ids, event.ID)
	}
	return story, nil
}

// message is an entry with the one field n.
func message(id, n string) redis.XMessage {
	return redis.XMessage{ID: id, Values: map[string]any{"n": n}}
}

// failure carries a failed comparison out of a case.
type failure struct{ error }

func failf(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}

// same compares whole values.
func same[T any](what string, actual, expected T) {
	if !reflect.DeepEqual(actual, expected) {
		failf("%s: %+v is not %+v", what, actual, expected)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		failf("unexpected error: %w", err)
	}
	return value
}

func done(err error) {
	must(struct{}{}, err)
}

func failsWith(err error, message string) {
	if err == nil {
		failf("no error where %q was due", message)
	}
	same("error", err.Error(), message)
}

// bench is the connections and keys of one case.
type bench struct {
	context.Context
	story    *events
	address  string
	protocol int
	prefix   string
	keys     []string
	clients  []*redis.Client
}

func (b *bench) key(name string) string {
	key := b.prefix + name
	for _, known := range b.keys {
		if known == key {
			return key
		}
	}
	b.keys = append(b.keys, key)
	return key
}

func (b *bench) stream() string {
	return b.key("crm:sync:user:user_created")
}

func (b *bench) open() *redis.Client {
	return b.openNamed("")
}

// openNamed makes a second client whose name CLIENT LIST shows.
func (b *bench) openNamed(label string) *redis.Client {
	options := &redis.Options{Addr: b.address, Protocol: b.protocol}
	if label != "" {
		options.ClientName = b.prefix + label
	}
	rdb := redis.NewClient(options)
	b.clients = append(b.clients, rdb)
	return rdb
}

func (b *bench) close() {
	rdb := b.open()
	if len(b.keys) > 0 {
		done(rdb.Del(b, b.keys...).Err())
	}
	same("keys left behind", must(rdb.Exists(b, append(b.keys, "proof:none")...).Result()), 0)
	for _, client := range b.clients {
		if err := client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			failf("close: %w", err)
		}
	}
}

// flags are those CLIENT LIST shows for the named connection, and whether it knows it.
func (b *bench) flags(rdb *redis.Client, name string) (flags string, known bool) {
	for line := range strings.Lines(must(rdb.ClientList(b).Result())) {
		if !strings.Contains(line, " name="+name+" ") {
			continue
		}
		_, rest, _ := strings.Cut(line, " flags=")
		flags, _, _ = strings.Cut(rest, " ")
		return flags, true
	}
	return "", false
}

func (b *bench) until(what string, condition func() bool) {
	for deadline := time.Now().Add(waitMax); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			failf("waited %v for %s", waitMax, what)
		}
	}
}

// untilBlocked waits until the named connection sits in a blocking read.
func (b *bench) untilBlocked(rdb *redis.Client, label string) {
	b.until(label+" to block", func() bool {
		flags, _ := b.flags(rdb, b.prefix+label)
		return strings.Contains(flags, "b")
	})
}

// untilGone waits until the server forgot the named connection.
func (b *bench) untilGone(rdb *redis.Client, label string) {
	b.until(label+" to go", func() bool {
		_, known := b.flags(rdb, b.prefix+label)
		return !known
	})
}

// answer is what a read in another goroutine came back with.
type answer struct {
	streams []redis.XStream
	err     error
}

func later(read func() ([]redis.XStream, error)) <-chan answer {
	reply := make(chan answer, 1)
	go func() {
		streams, err := read()
		reply <- answer{streams, err}
	}()
	return reply
}

type proofCase struct {
	name string
	run  func(*bench)
}

// prove runs every case on a bench of its own and prints one line each; it returns whether all passed.
func prove(label string, cases []proofCase, newBench func() *bench) bool {
	failed := 0
	for _, c := range cases {
		if err := runCase(c, newBench()); err != nil {
			failed++
			fmt.Printf("FAIL  %s: %s\n%v\n", label, c.name, err)
			continue
		}
		fmt.Printf("ok    %s: %s\n", label, c.name)
	}
	fmt.Printf("%s: %d passed, %d failed\n", label, len(cases)-failed, failed)
	return failed == 0
}

func runCase(c proofCase, b *bench) (err error) {
	attempt := func(run func()) {
		defer func() {
			switch failed := recover().(type) {
			case nil:
			case failure:
				err = errors.Join(err, failed.error)
			default:
				panic(failed)
			}
		}()
		run()
	}
	attempt(func() { c.run(b) })
	attempt(b.close)
	return err
}

func newPrefix() string {
	return "proof:go-redis:" + strings.ToLower(rand.Text()[:12]) + ":"
}
