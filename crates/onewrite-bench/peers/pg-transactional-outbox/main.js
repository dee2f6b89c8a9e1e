// pg-transactional-outbox between PostgreSQL and Kafka: `node main.js setup` makes its table, publication and slot, and
// `node main.js run` sends what is written there. DATABASE_URL, SLOT and BROKERS say between what.
'use strict';

const { CompressionTypes, Kafka, logLevel } = require('kafkajs');
const { Client } = require('pg');
const {
  DatabaseSetup,
  createReplicationMutexConcurrencyController,
  getDefaultLogger,
  initializeReplicationMessageListener,
} = require('pg-transactional-outbox');

const database = { connectionString: process.env.DATABASE_URL };
const slot = process.env.SLOT;
const publication = 'outbox';

async function setUp() {
  const config = {
    outboxOrInbox: 'outbox',
    database: 'bench',
    schema: 'public',
    table: 'outbox',
    listenerRole: 'postgres',
    publication,
    replicationSlot: slot,
  };
  const client = new Client(database);
  await client.connect();
  await client.query(DatabaseSetup.dropAndCreateTable(config));
  await client.query(DatabaseSetup.setupReplicationCore(config));
  // By itself: a slot cannot be made in a transaction that has written.
  await client.query(`SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
  await client.end();
}

async function run() {
  const kafka = new Kafka({ brokers: process.env.BROKERS.split(','), logLevel: logLevel.ERROR });
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  const publisher = {
    handle: ({ id, aggregateType, aggregateId, messageType, payload }) =>
      producer.send({
        topic: aggregateType,
        acks: -1,
        compression: CompressionTypes.None,
        messages: [{ key: aggregateId, value: JSON.stringify(payload), headers: { id, type: messageType } }],
      }),
  };
  const config = {
    outboxOrInbox: 'outbox',
    dbListenerConfig: database,
    settings: {
      dbSchema: 'public',
      dbTable: 'outbox',
      dbPublication: publication,
      dbReplicationSlot: slot,
      enableMaxAttemptsProtection: false,
      enablePoisonousMessageProtection: false,
    },
  };
  const [shutDown] = initializeReplicationMessageListener(config, publisher, getDefaultLogger('outbox'), {
    concurrencyStrategy: createReplicationMutexConcurrencyController(),
  });
  process.once('SIGTERM', async () => {
    await shutDown();
    await producer.disconnect();
    process.exit(0);
  });
}

const verbs = { setup: setUp, run };
verbs[process.argv[2]]().catch((error) => {
  console.error(error);
  process.exit(1);
});
