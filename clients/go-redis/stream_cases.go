package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const block = 100 * time.Millisecond

// streamCases are reading, blocking, pipelines and transactions.
var streamCases = []proofCase{
	{"fields keep their order, repetitions and bytes", bytesAndOrder},
	{"ranges, deletion and trimming", ranges},
	{"XREAD answers every stream that has something, and nil else", xread},
	{"XREAD from $ sees only what comes, on every connection", xreadTail},
	{"a BLOCK that ends without data answers nil, no sooner", blockTimesOut},
	{"a blocked reader is woken by another connection", blockWakes},
	{"blocked readers of a group are served in their order", blockOrder},
	{"a reader that hung up takes nothing", hungUp},
	{"pipelined commands are answered in order, and fail alone", pipelines},
	{"MULTI runs as one and answers errors in place", multi},
	{"WATCH lets a transaction through only when nothing changed", watch},
}

var timeOutCases = []proofCase{
	{"a BLOCK longer than the default read time-out", longBlock},
}

func add(b *bench, rdb redis.Cmdable, stream, id, n string) *redis.StringCmd {
	return rdb.XAdd(b, &redis.XAddArgs{Stream: stream, ID: id, Values: []string{"n", n}})
}

func (b *bench) emptyGroup(rdb *redis.Client) string {
	stream := b.stream()
	done(rdb.XGroupCreateMkStream(b, stream, b.story.Group, "$").Err())
	return stream
}

// reader reads new entries of stream as the named consumer, on a connection of that name.
func (b *bench) reader(stream, name string) func(block time.Duration, count int64) <-chan answer {
	rdb := b.openNamed(name)
	return func(block time.Duration, count int64) <-chan answer {
		return later(func() ([]redis.XStream, error) { return b.readGroup(rdb, name, stream, ">", count, block) })
	}
}

// errorsOf shows each command's error, or its value.
func errorsOf(commands []redis.Cmder) []string {
	var shown []string
	for _, command := range commands {
		switch err := command.Err(); {
		case errors.Is(err, redis.Nil):
			shown = append(shown, "nil")
		case err != nil:
			shown = append(shown, err.Error())
		default:
			_, value, _ := strings.Cut(command.String(), ": ")
			shown = append(shown, value)
		}
	}
	return shown
}

func bytesAndOrder(b *bench) {
	rdb, stream := b.open(), b.stream()
	fields := []any{"b", "1", "a", "\x00\xff\r\n", "b", "", "ключ", strings.Repeat("x", 100_000)}
	same("XADD", must(rdb.Do(b, append([]any{"XADD", stream, "7-7"}, fields...)...).Result()), any("7-7"))
	same("XRANGE", must(rdb.Do(b, "XRANGE", stream, "-", "+").Result()), any([]any{[]any{"7-7", fields}}))
}

func ranges(b *bench) {
	rdb, stream := b.open(), b.stream()
	ids, messages := b.story.ids, b.story.messages
	b.publish(rdb, stream)
	same("XRANGE", must(rdb.XRangeN(b, stream, ids[1], "+", 2).Result()), messages[1:3])
	same("XRANGE, exclusive", must(rdb.XRange(b, stream, "("+ids[1], ids[3]).Result()), messages[2:4])
	same("XREVRANGE", must(rdb.XRevRangeN(b, stream, "+", "-", 2).Result()), []redis.XMessage{messages[4], messages[3]})
	same("XDEL", must(rdb.XDel(b, stream, ids[0], ids[0], "1-1").Result()), 1)
	same("XTRIM MAXLEN", must(rdb.XTrimMaxLen(b, stream, 3).Result()), 1)
	same("XTRIM MINID", must(rdb.XTrimMinID(b, stream, ids[3]).Result()), 1)
	id := must(rdb.XAdd(b, &redis.XAddArgs{Stream: stream, MaxLen: 2, Values: []string{"n", "1"}}).Result())
	if !regexp.MustCompile(`^\d{13}-\d+$`).MatchString(id) {
		failf("XADD * answered %q", id)
	}
	same("what is left", must(rdb.XRange(b, stream, "-", "+").Result()), []redis.XMessage{messages[4], message(id, "1")})
}

func xread(b *bench) {
	rdb, one, two := b.open(), b.key("one"), b.key("two")
	for _, id := range []string{"1-1", "2-2", "3-3"} {
		done(add(b, rdb, one, id, id).Err())
	}
	done(add(b, rdb, two, "5-5", "5-5").Err())
	read := func(count int64, from ...string) ([]redis.XStream, error) {
		return rdb.XRead(b, &redis.XReadArgs{Streams: append([]string{one, two}, from...), Count: count, Block: noBlock}).Result()
	}
	fromTwo := streams(two, message("5-5", "5-5"))
	same("both", must(read(1, "1-1", "0")), append(streams(one, message("2-2", "2-2")), fromTwo...))
	same("one", must(read(0, "3-3", "0")), fromTwo)
	_, err := read(0, "3-3", "5-5")
	same("none", err, error(redis.Nil))
}

func xreadTail(b *bench) {
	rdb, stream := b.open(), b.stream()
	done(add(b, rdb, stream, "1-1", "old").Err())
	tail := func(label string) func(time.Duration) <-chan answer {
		client := b.openNamed(label)
		return func(block time.Duration) <-chan answer {
			return later(func() ([]redis.XStream, error) {
				return client.XRead(b, &redis.XReadArgs{Streams: []string{stream, "$"}, Block: block}).Result()
			})
		}
	}
	first, second := tail("tail-1"), tail("tail-2")
	same("time-out", (<-first(block)).err, error(redis.Nil))
	replies := []<-chan answer{first(waitMax), second(waitMax)}
	b.untilBlocked(rdb, "tail-1")
	b.untilBlocked(rdb, "tail-2")
	done(add(b, rdb, stream, "2-2", "new").Err())
	for _, reply := range replies {
		same("tail", <-reply, answer{streams: streams(stream, message("2-2", "new"))})
	}
}

func blockTimesOut(b *bench) {
	rdb := b.open()
	read := b.reader(b.emptyGroup(rdb), b.story.Consumer)
	started := time.Now()
	same("time-out", <-read(block, 1), answer{err: redis.Nil})
	if elapsed := time.Since(started); elapsed < block-5*time.Millisecond {
		failf("answered after %v", elapsed)
	}
}

// A Block of zero waits for ever.
func blockWakes(b *bench) {
	rdb := b.open()
	stream := b.emptyGroup(rdb)
	reply := b.reader(stream, b.story.Consumer)(0, 10)
	b.untilBlocked(rdb, b.story.Consumer)
	first := b.story.messages[0]
	done(rdb.XAdd(b, &redis.XAddArgs{Stream: stream, ID: first.ID, Values: first.Values}).Err())
	same("woken", <-reply, answer{streams: streams(stream, first)})
	same("XPENDING", must(rdb.XPending(b, stream, b.story.Group).Result()), &redis.XPending{
		Count: 1, Lower: first.ID, Higher: first.ID, Consumers: map[string]int64{b.story.Consumer: 1},
	})
}

func blockOrder(b *bench) {
	rdb := b.open()
	stream := b.emptyGroup(rdb)
	var replies []<-chan answer
	for _, name := range []string{"first", "second"} {
		replies = append(replies, b.reader(stream, name)(waitMax, 1))
		b.untilBlocked(rdb, name)
	}
	_, err := rdb.TxPipelined(b, func(tx redis.Pipeliner) error {
		add(b, tx, stream, "1-1", "1")
		add(b, tx, stream, "2-2", "2")
		return nil
	})
	done(err)
	same("first", <-replies[0], answer{streams: streams(stream, message("1-1", "1"))})
	same("second", <-replies[1], answer{streams: streams(stream, message("2-2", "2"))})
}

func hungUp(b *bench) {
	rdb := b.open()
	stream := b.emptyGroup(rdb)
	gone := b.openNamed("gone")
	lost := later(func() ([]redis.XStream, error) { return b.readGroup(gone, "gone", stream, ">", 1, waitMax) })
	b.untilBlocked(rdb, "gone")
	done(gone.Close())
	if reply := <-lost; reply.err == nil || errors.Is(reply.err, redis.Nil) {
		failf("a closed client answered %v", reply)
	}
	b.untilGone(rdb, "gone")
	done(add(b, rdb, stream, "1-1", "1").Err())
	read := b.reader(stream, b.story.Consumer)
	same("the next reader", <-read(time.Second, 1), answer{streams: streams(stream, message("1-1", "1"))})
	same("XPENDING", must(rdb.XPending(b, stream, b.story.Group).Result()).Consumers, map[string]int64{b.story.Consumer: 1})
}

func pipelines(b *bench) {
	rdb, stream := b.open(), b.stream()
	var ids []string
	var messages []redis.XMessage
	for n := range 500 {
		id := fmt.Sprintf("%d-0", n+1)
		ids, messages = append(ids, id), append(messages, message(id, id))
	}
	commands, err := rdb.Pipelined(b, func(pipe redis.Pipeliner) error {
		for _, id := range ids {
			add(b, pipe, stream, id, id)
		}
		return nil
	})
	done(err)
	same("XADD × 500", errorsOf(commands), ids)
	same("XRANGE", must(rdb.XRange(b, stream, "-", "+").Result()), messages)

	commands, err = rdb.Pipelined(b, func(pipe redis.Pipeliner) error {
		pipe.XLen(b, stream)
		add(b, pipe, stream, "1-0", "x")
		pipe.XTrimMaxLen(b, stream, 1)
		pipe.XLen(b, stream)
		return nil
	})
	failsWith(err, smallerID)
	same("the second one fails", errorsOf(commands), []string{"500", smallerID, "499", "1"})
}

func multi(b *bench) {
	rdb := b.open()
	stream := b.emptyGroup(rdb)
	var read *redis.XStreamSliceCmd
	commands, err := rdb.TxPipelined(b, func(tx redis.Pipeliner) error {
		args := redis.XReadGroupArgs{Group: b.story.Group, Consumer: b.story.Consumer, Streams: []string{stream, ">"}, Block: noBlock}
		blocking := args
		blocking.Block = time.Minute
		add(b, tx, stream, "5-5", "1")
		add(b, tx, stream, "1-1", "2")
		read = tx.XReadGroup(b, &args)
		tx.XReadGroup(b, &blocking)
		tx.XAck(b, stream, b.story.Group, "5-5")
		return nil
	})
	failsWith(err, smallerID)
	same("read", read.Val(), streams(stream, message("5-5", "1")))
	shown := errorsOf(commands)
	same("EXEC", append(shown[:2:2], shown[3:]...), []string{"5-5", smallerID, "nil", "1"})
	failsWith(rdb.Do(b, "EXEC").Err(), "ERR EXEC without MULTI")
}

func watch(b *bench) {
	rdb, stream := b.open(), b.stream()
	done(add(b, rdb, stream, "1-1", "1").Err())
	appendWatching := func(between func(), id string) error {
		return rdb.Watch(b, func(tx *redis.Tx) error {
			between()
			_, err := tx.TxPipelined(b, func(pipe redis.Pipeliner) error {
				return add(b, pipe, stream, id, "w").Err()
			})
			return err
		}, stream)
	}
	done(appendWatching(func() {}, "2-2"))
	same("changed", appendWatching(func() { done(add(b, rdb, stream, "3-3", "3").Err()) }, "4-4"), error(redis.TxFailedErr))
	same("what was written", must(rdb.XRange(b, stream, "-", "+").Result()),
		[]redis.XMessage{message("1-1", "1"), message("2-2", "w"), message("3-3", "3")})

	done(rdb.Watch(b, func(tx *redis.Tx) error {
		done(add(b, rdb, stream, "5-5", "5").Err())
		same("UNWATCH", must(tx.Unwatch(b).Result()), "OK")
		commands, err := tx.TxPipelined(b, func(pipe redis.Pipeliner) error { return pipe.XLen(b, stream).Err() })
		same("after UNWATCH", errorsOf(commands), []string{"4"})
		return err
	}, stream))
}

// The default is 5 s. The library waits for BLOCK and ten seconds more instead.
func longBlock(b *bench) {
	rdb := b.open()
	same("default", rdb.Options().ReadTimeout, 5*time.Second)
	stream := b.emptyGroup(rdb)
	read := b.reader(stream, b.story.Consumer)
	same("time-out", <-read(5200*time.Millisecond, 1), answer{err: redis.Nil})
	reply := read(waitMax, 1)
	b.untilBlocked(rdb, b.story.Consumer)
	done(add(b, rdb, stream, "1-1", "1").Err())
	same("the same connection goes on", <-reply, answer{streams: streams(stream, message("1-1", "1"))})
}
