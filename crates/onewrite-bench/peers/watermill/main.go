// Watermill's forwarder between PostgreSQL and Kafka: `forwarder setup` makes its tables, and `forwarder run` sends what is written
// there. DATABASE_URL and BROKERS say between what.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The table is called watermill_outbox.
const topic = "outbox"

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: forwarder setup|run")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	logger := watermill.NewStdLogger(false, false)
	subscriber, err := sql.NewSubscriber(sql.BeginnerFromPgx(pool), sql.SubscriberConfig{
		SchemaAdapter:  sql.DefaultPostgreSQLSchema{},
		OffsetsAdapter: sql.DefaultPostgreSQLOffsetsAdapter{},
		// Instead of a second.
		PollInterval: 10 * time.Millisecond,
	}, logger)
	if err != nil {
		log.Fatal(err)
	}
	switch os.Args[1] {
	case "setup":
		err = subscriber.SubscribeInitialize(topic)
	case "run":
		err = run(ctx, subscriber, logger)
	default:
		log.Fatalf("there is no verb %q", os.Args[1])
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, subscriber message.Subscriber, logger watermill.LoggerAdapter) error {
	config := kafka.DefaultSaramaSyncPublisherConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	publisher, err := kafka.NewPublisher(kafka.PublisherConfig{
		Brokers: strings.Split(os.Getenv("BROKERS"), ","),
		Marshaler: kafka.NewWithPartitioningMarshaler(func(_ string, message *message.Message) (string, error) {
			return message.Metadata.Get("key"), nil
		}),
		OverwriteSaramaConfig: config,
	}, logger)
	if err != nil {
		return err
	}
	defer publisher.Close()
	relay, err := forwarder.NewForwarder(subscriber, publisher, logger, forwarder.Config{ForwarderTopic: topic})
	if err != nil {
		return err
	}
	return relay.Run(ctx)
}
