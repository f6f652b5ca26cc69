package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// consumer handles user events: its own pending entries first, then new ones, acknowledged one by one.
//
// Its name is stable, so that after a restart it finds what it held. History is read with a cursor, so that an entry
// which keeps failing cannot hide the ones behind it. An entry is acknowledged only after its handler returned; one
// that can never be handled (its data is not JSON) is set aside and acknowledged in one transaction, so that it is
// never in both places or in neither.
type consumer struct {
	rdb              *redis.Client
	stream           string
	deadLetters      string
	group            string
	name             string
	count            int64
	deadLetterReason string
	handle           func(id, eventType string, data map[string]any) error
}

func (c *consumer) setUpGroup(ctx context.Context) error {
	err := c.rdb.XGroupCreateMkStream(ctx, c.stream, c.group, "0").Err()
	if err != nil && err.Error() != "BUSYGROUP Consumer Group name already exists" {
		return err
	}
	return nil
}

// turn is one turn of the consumer's loop. It returns how many entries it saw.
func (c *consumer) turn(ctx context.Context, block time.Duration) (int, error) {
	pending, err := c.processPending(ctx)
	if err != nil {
		return 0, err
	}
	fresh, err := c.processNew(ctx, block)
	return pending + fresh, err
}

func (c *consumer) processPending(ctx context.Context) (int, error) {
	seen, cursor := 0, "0"
	for {
		messages, err := c.read(ctx, cursor, -1)
		if err != nil || len(messages) == 0 {
			return seen, err
		}
		for _, message := range messages {
			if err := c.process(ctx, message); err != nil {
				return seen, err
			}
		}
		cursor = messages[len(messages)-1].ID
		seen += len(messages)
	}
}

func (c *consumer) processNew(ctx context.Context, block time.Duration) (int, error) {
	messages, err := c.read(ctx, ">", block)
	if err != nil {
		return 0, err
	}
	for _, message := range messages {
		if err := c.process(ctx, message); err != nil {
			return 0, err
		}
	}
	return len(messages), nil
}

// read asks for no BLOCK at all when block is negative; zero would wait for ever. A time-out comes as redis.Nil and
// is no error.
func (c *consumer) read(ctx context.Context, id string, block time.Duration) ([]redis.XMessage, error) {
	streams, err := c.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: c.group, Consumer: c.name, Streams: []string{c.stream, id}, Count: c.count, Block: block,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return streams[0].Messages, nil
}

func (c *consumer) process(ctx context.Context, message redis.XMessage) error {
	text, _ := message.Values["data"].(string)
	var data map[string]any
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		return c.setAside(ctx, message)
	}
	eventType, _ := message.Values["eventType"].(string)
	if err := c.handle(message.ID, eventType, data); err != nil {
		return nil // stays pending, and the next turn meets it again
	}
	return c.rdb.XAck(ctx, c.stream, c.group, message.ID).Err()
}

func (c *consumer) setAside(ctx context.Context, message redis.XMessage) error {
	letter := map[string]any{"originalId": message.ID, "reason": c.deadLetterReason}
	for name, value := range message.Values {
		letter[name] = value
	}
	_, err := c.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.XAdd(ctx, &redis.XAddArgs{Stream: c.deadLetters, Values: letter})
		tx.XAck(ctx, c.stream, c.group, message.ID)
		return nil
	})
	return err
}
