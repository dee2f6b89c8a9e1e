/*
 * A library that stands in for IBM's MQ client in the tests: it checks what the calls are given and keeps messages in memory. The
 * structures are laid out here once more, in C, and their sizes are compared with the lengths that IBM's headers give. A test says by the
 * functions stub_* what there is and what fails.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int32_t Long;
typedef struct { void *pointer; Long offset, size, length, ccsid; } Text;

typedef struct {
  char id[4]; Long version, options, channel_offset; void *channel; unsigned char tag[128]; void *tls; Long tls_offset;
  unsigned char connection_id[24]; Long security_offset; void *security;
} ConnectOptions;
_Static_assert(sizeof(ConnectOptions) == 200, "MQCNO_LENGTH_5");

typedef struct {
  char id[4]; Long version, type; char reserved1[4]; char *user; Long user_offset, user_length; char reserved2[8]; char *password;
  Long password_offset, password_length;
} Security;
_Static_assert(sizeof(Security) == 56, "MQCSP_LENGTH_1");

typedef struct { char id[4]; Long version; char key_repository[256]; } Tls;

typedef struct {
  char name[20]; Long version, channel_type, transport; char description[64], queue_manager[48], transmission_queue[48], short_name[20],
  agent[20], mode[8], program[64]; Long batch_size, disconnect, short_count, short_interval, long_count, long_interval;
  char security_exit[128], message_exit[128], send_exit[128], receive_exit[128]; Long wrap, max_length, authority, conversion;
  char security_data[32], message_data[32], send_data[32], receive_data[32], user[12], password[12], agent_user[12]; Long agent_type;
  char connection_name[264], remote_user[12], remote_password[12], retry_exit[128], retry_data[32]; Long retry_count, retry_interval,
  heartbeat, batch_interval, speed, length, exit_name_length, exit_data_length, message_exits, send_exits, receive_exits;
  void *pointers[7]; Long clusters, network_priority, long_user_length, long_remote_length; void *long_user, *long_remote;
  unsigned char agent_security[40], remote_security[40]; char cipher_spec[32]; void *peer; Long peer_length, client_auth, keep_alive;
  char local[48]; Long batch_heartbeat, header_compression[2], message_compression[16], rank, priority, weight, monitoring, statistics,
  sharing, property_control, instances, instances_client, client_weight, affinity;
} Channel;
_Static_assert(sizeof(Channel) == 1912, "MQCD_LENGTH_9");

typedef struct {
  char id[4]; Long version, type; char name[48], queue_manager[48], dynamic[48], user[12]; Long records, known, unknown, invalid,
  object_offset, response_offset; void *objects, *responses; unsigned char security[40]; char resolved_queue[48],
  resolved_manager[48]; Text string, selection, resolved; Long resolved_type;
} Object;
_Static_assert(sizeof(Object) == 424, "MQOD_LENGTH_4");

typedef struct {
  char id[4]; Long version, report, type, expiry, feedback, encoding, ccsid; char format[8]; Long priority, persistence;
  unsigned char message_id[24], correlation[24]; Long backouts; char reply_queue[48], reply_manager[48], user[12];
  unsigned char token[32]; char identity[32]; Long put_type; char put_name[28], date[8], time[8], origin[4];
  unsigned char group[24]; Long sequence, offset, flags, original;
} Descriptor;
_Static_assert(sizeof(Descriptor) == 364, "MQMD_LENGTH_2");

typedef struct {
  char id[4]; Long version, options, timeout, context, known, unknown, invalid; char queue[48], manager[48]; Long records, fields,
  record_offset, response_offset; void *record, *response; int64_t original, new_handle; Long action, level;
} PutOptions;
_Static_assert(sizeof(PutOptions) == 184, "MQPMO_LENGTH_3");

typedef struct { char id[4]; Long version, options; } HandleOptions;
typedef struct { char id[4]; Long version, options, encoding, ccsid; } PropertyOptions;
typedef struct { char id[4]; Long version, options, support, context, copy; } Property;

/* What stub_read gives: fields, each with its length before it. */
typedef struct { char *bytes; size_t length; } Bytes;
typedef struct Message { struct Message *next; char queue[49]; Bytes kept; } Message;
typedef struct { int used, broken; pthread_t thread; Message *unit, **unit_end; int unit_length; } Connection;
typedef struct { char name[49]; int used; } Queue;
typedef struct { int used, connection; char queue[49]; } Open;
typedef struct { int used; Bytes properties; Long count; } Handle;
typedef struct { char call[12], queue[49]; Long reason; int after, times; } Fault;

enum { CONNECTIONS = 512, QUEUES = 128, OPENS = 4096, HANDLES = 512, FAULTS = 16 };
static Connection connections[CONNECTIONS];
static Queue queues[QUEUES];
static Open opens[OPENS];
static Handle handles[HANDLES];
static Fault faults[FAULTS];
static int fault_count, down, lose, most_in_unit, commits, discarded;
static long slow_ms;
static Long limit = 4194304;
static Message *arrived, **arrived_end = &arrived;
static char broken_rules[4096];
static char user[64], password[64], key_repository[256], cipher_spec[33], connection_name[265];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void rule(int holds, const char *words) {
  if (!holds && strlen(broken_rules) + strlen(words) + 2 < sizeof broken_rules) strcat(strcat(broken_rules, words), ";");
}

static void add(Bytes *to, const void *field, Long length) {
  to->bytes = realloc(to->bytes, to->length + 4 + (size_t)length);
  memcpy(to->bytes + to->length, &length, 4);
  if (length) memcpy(to->bytes + to->length + 4, field, (size_t)length);
  to->length += 4 + (size_t)length;
}

/* Of a call that a client makes by itself. */
static void begin(void) { pthread_mutex_lock(&lock); }

/* Of a call that goes to the queue manager. */
static void begin_far(void) {
  pthread_mutex_lock(&lock);
  long wait = slow_ms;
  pthread_mutex_unlock(&lock);
  struct timespec time = { wait / 1000, wait % 1000 * 1000000 };
  if (wait) nanosleep(&time, NULL);
  pthread_mutex_lock(&lock);
}

static void end(Long *completion, Long *reason, Long code) {
  *completion = code ? 2 : 0;
  *reason = code;
  pthread_mutex_unlock(&lock);
}

static void drop_unit(Connection *connection) {
  while (connection->unit) {
    Message *gone = connection->unit;
    connection->unit = gone->next;
    free(gone->kept.bytes);
    free(gone);
  }
  connection->unit_end = &connection->unit;
  connection->unit_length = 0;
}

/* The connection of a handle, or why there is none. */
static Long connected(Long handle, Connection **found) {
  if (handle < 1 || handle >= CONNECTIONS || !connections[handle].used) { rule(0, "no such connection"); return 2018; }
  *found = &connections[handle];
  rule(pthread_equal((*found)->thread, pthread_self()), "another thread uses the connection");
  if (down) (*found)->broken = 1;
  if ((*found)->broken) { drop_unit(*found); return 2009; }
  return 0;
}

static Long fault(const char *call, const char *queue) {
  for (int at = 0; at < fault_count; at++) {
    Fault *one = &faults[at];
    if (strcmp(one->call, call) || (*one->queue && strcmp(one->queue, queue)) || !one->times) continue;
    if (one->after) { one->after--; continue; }
    if (one->times > 0) one->times--;
    return one->reason;
  }
  return 0;
}

static int known(const char *name) {
  for (int at = 0; at < QUEUES; at++) if (queues[at].used && !strcmp(queues[at].name, name)) return 1;
  return 0;
}

void MQCONNX(char *manager, ConnectOptions *options, Long *handle, Long *completion, Long *reason) {
  begin_far();
  Channel *channel = options->channel;
  Security *security = options->security;
  Tls *tls = options->tls;
  rule(!memcmp(options->id, "CNO ", 4) && options->version == 5, "MQCNO");
  rule(options->options == (2048 | 33554432 | 32), "client binding, no reconnection, handle not shared");
  rule(channel && channel->version == 9 && channel->length == 1912 && channel->channel_type == 6 && channel->transport == 2
    && channel->exit_name_length == 128 && channel->exit_data_length == 32 && channel->max_length == 104857600
    && channel->sharing == 1 && channel->keep_alive == -1 && channel->message_compression[15] == -1
    && !channel->message_compression[0], "MQCD");
  rule(!strcmp(manager, "QM.1") && !strcmp(channel->name, "DEV.APP.SVRCONN"), "names");
  strcpy(connection_name, channel->connection_name);
  memcpy(cipher_spec, channel->cipher_spec, 32);
  if (tls) {
    rule(!memcmp(tls->id, "SCO ", 4) && tls->version == 1, "MQSCO");
    strcpy(key_repository, tls->key_repository);
  }
  Long code = down ? 2538 : fault("MQCONNX", "");
  if (!code && *user) {
    rule(!security || (!memcmp(security->id, "CSP ", 4) && security->version == 1 && security->type == 1), "MQCSP");
    int right = security && security->user_length == (Long)strlen(user) && !memcmp(security->user, user, strlen(user))
      && security->password_length == (Long)strlen(password) && !memcmp(security->password, password, strlen(password));
    if (!right) code = 2035;
  }
  if (!code) {
    int at = 1;
    while (at < CONNECTIONS && connections[at].used) at++;
    if (at == CONNECTIONS) code = 2025;
    else {
      connections[at] = (Connection) { .used = 1, .thread = pthread_self() };
      connections[at].unit_end = &connections[at].unit;
      *handle = at;
    }
  }
  end(completion, reason, code);
}

void MQDISC(Long *handle, Long *completion, Long *reason) {
  begin();
  Connection *connection;
  Long code = connected(*handle, &connection);
  if (code != 2018) {
    rule(!connection->unit, "disconnecting would commit what is in the unit");
    for (int at = 0; at < OPENS; at++) if (opens[at].connection == *handle) opens[at].used = 0;
    connection->used = 0;
    *handle = -1;
  }
  end(completion, reason, code);
}

void MQOPEN(Long handle, Object *object, Long options, Long *open, Long *completion, Long *reason) {
  begin_far();
  Connection *connection;
  char name[49] = "";
  Long code = connected(handle, &connection);
  rule(!memcmp(object->id, "OD  ", 4) && object->version == 4, "MQOD");
  rule(options == (16 | 8192), "open for output, fail if quiescing");
  rule(object->type == 1 || object->type == 8, "a queue or a topic");
  if (object->type == 1) memcpy(name, object->name, 48);
  else {
    rule(object->string.ccsid == 1208 && object->string.length > 0 && object->string.length < 48, "topic string");
    memcpy(name, object->string.pointer, (size_t)object->string.length);
  }
  if (!code) code = fault("MQOPEN", name);
  if (!code && !known(name)) code = 2085;
  if (!code) {
    int at = 1;
    while (at < OPENS && opens[at].used) at++;
    if (at == OPENS) code = 2017;
    else {
      opens[at] = (Open) { .used = 1, .connection = handle };
      strcpy(opens[at].queue, name);
      *open = at;
    }
  }
  end(completion, reason, code);
}

void MQCLOSE(Long handle, Long *open, Long options, Long *completion, Long *reason) {
  begin();
  Connection *connection;
  Long code = connected(handle, &connection);
  rule(!options && opens[*open].used && opens[*open].connection == handle, "close");
  opens[*open].used = 0;
  *open = -1;
  end(completion, reason, code);
}

void MQCRTMH(Long handle, HandleOptions *options, int64_t *made, Long *completion, Long *reason) {
  begin();
  Connection *connection;
  Long code = connected(handle, &connection);
  rule(!memcmp(options->id, "CMHO", 4) && options->version == 1, "MQCMHO");
  int at = 1;
  while (at < HANDLES && handles[at].used) at++;
  if (at == HANDLES) code = 2102;
  if (!code) {
    handles[at] = (Handle) { .used = 1 };
    *made = at;
  }
  end(completion, reason, code);
}

void MQSETMP(Long handle, int64_t made, PropertyOptions *options, Text *name, Property *property, Long type, Long length, void *value,
    Long *completion, Long *reason) {
  begin();
  Connection *connection;
  Long code = connected(handle, &connection);
  rule(!memcmp(options->id, "SMPO", 4) && options->version == 1 && options->ccsid == 1208, "MQSMPO");
  rule(!memcmp(property->id, "PD  ", 4) && property->version == 1 && property->support == 1 && property->copy == 22, "MQPD");
  rule(type == 1024 && name->ccsid == 1208 && name->length > 0, "a text with a name");
  if (!code) code = fault("MQSETMP", "");
  if (!code) {
    add(&handles[made].properties, name->pointer, name->length);
    add(&handles[made].properties, value, length);
    handles[made].count++;
  }
  end(completion, reason, code);
}

void MQDLTMH(Long handle, int64_t *made, HandleOptions *options, Long *completion, Long *reason) {
  begin();
  Connection *connection;
  Long code = connected(handle, &connection);
  rule(!memcmp(options->id, "DMHO", 4) && options->version == 1, "MQDMHO");
  rule(*made > 0 && handles[*made].used, "no such message handle");
  free(handles[*made].properties.bytes);
  handles[*made] = (Handle) { 0 };
  *made = -1;
  end(completion, reason, code);
}

static Message *kept(const char *queue, Descriptor *message, Handle *properties, Long length, void *body) {
  Message *one = calloc(1, sizeof *one);
  Long numbers[] = { message->persistence, message->expiry, message->priority };
  strcpy(one->queue, queue);
  add(&one->kept, body, length);
  add(&one->kept, message->correlation, 24);
  add(&one->kept, message->format, 8);
  add(&one->kept, numbers, sizeof numbers);
  add(&one->kept, properties->properties.bytes, (Long)properties->properties.length);
  return one;
}

void MQPUT(Long handle, Long open, Descriptor *message, PutOptions *options, Long length, void *body, Long *completion, Long *reason) {
  begin_far();
  Connection *connection;
  Long code = connected(handle, &connection);
  rule(!memcmp(message->id, "MD  ", 4) && message->version == 2 && message->type == 8 && message->ccsid == 1208
    && message->encoding == 546 && message->sequence == 1 && message->original == -1, "MQMD");
  rule(!memcmp(options->id, "PMO ", 4) && options->version == 3 && options->level == 9 && options->timeout == -1, "MQPMO");
  rule(options->options & 2, "put outside of syncpoint");
  rule(options->options == (2 | 64 | 8192 | 131072), "options of putting");
  rule(open > 0 && open < OPENS && opens[open].used && opens[open].connection == handle, "put to what is not open");
  rule(options->original > 0 && handles[options->original].used, "no properties");
  if (!code) code = fault("MQPUT", opens[open].queue);
  if (!code && !known(opens[open].queue)) code = 2052;
  if (!code && length > limit) code = 2030;
  if (!code && most_in_unit && connection->unit_length >= most_in_unit) code = 2024;
  if (!code) {
    *connection->unit_end = kept(opens[open].queue, message, &handles[options->original], length, body);
    connection->unit_end = &(*connection->unit_end)->next;
    connection->unit_length++;
  }
  if (code == 2009) connection->broken = 1;
  if (code == 2009 || code == 2003) { discarded += connection->unit_length; drop_unit(connection); }
  end(completion, reason, code);
}

void MQCMIT(Long handle, Long *completion, Long *reason) {
  begin_far();
  Connection *connection;
  Long code = connected(handle, &connection);
  Long failing = code ? 0 : fault("MQCMIT", "");
  if (!code && failing) drop_unit(connection);
  else if (!code && connection->unit) {
    commits++;
    *arrived_end = connection->unit;
    arrived_end = connection->unit_end;
    connection->unit = NULL;
    drop_unit(connection);
  }
  if (!code) code = failing;
  if (!code && lose) { code = 2009; connection->broken = 1; }
  end(completion, reason, code);
}

void MQBACK(Long handle, Long *completion, Long *reason) {
  begin_far();
  Connection *connection;
  Long code = connected(handle, &connection);
  if (!code) { discarded += connection->unit_length; drop_unit(connection); }
  end(completion, reason, code);
}

void stub_queue(const char *name, int there) {
  pthread_mutex_lock(&lock);
  int at = 0;
  while (at < QUEUES && (there ? queues[at].used : strcmp(queues[at].name, name))) at++;
  if (at < QUEUES) { queues[at].used = there; strcpy(queues[at].name, there ? name : ""); }
  pthread_mutex_unlock(&lock);
}

/* `times` below zero: always. */
void stub_fault(const char *call, const char *queue, Long reason, int after, int times) {
  pthread_mutex_lock(&lock);
  Fault *one = &faults[fault_count++ % FAULTS];
  strcpy(one->call, call);
  strcpy(one->queue, queue);
  one->reason = reason;
  one->after = after;
  one->times = times;
  pthread_mutex_unlock(&lock);
}

void stub_set(const char *what, long value) {
  pthread_mutex_lock(&lock);
  if (!strcmp(what, "down")) {
    down = (int)value;
    for (int at = 0; at < CONNECTIONS; at++) if (value) connections[at].broken = 1;
  }
  if (!strcmp(what, "lose")) lose = (int)value;
  if (!strcmp(what, "slow")) slow_ms = value;
  if (!strcmp(what, "limit")) limit = (Long)value;
  if (!strcmp(what, "unit")) most_in_unit = (int)value;
  pthread_mutex_unlock(&lock);
}

long stub_get(const char *what) {
  pthread_mutex_lock(&lock);
  long value = !strcmp(what, "commits") ? commits : discarded;
  if (!strcmp(what, "connections")) {
    value = 0;
    for (int at = 0; at < CONNECTIONS; at++) value += connections[at].used;
  }
  if (!strcmp(what, "handles")) {
    value = 0;
    for (int at = 0; at < HANDLES; at++) value += handles[at].used;
  }
  pthread_mutex_unlock(&lock);
  return value;
}

void stub_credentials(const char *name, const char *secret) {
  pthread_mutex_lock(&lock);
  strcpy(user, name);
  strcpy(password, secret);
  pthread_mutex_unlock(&lock);
}

const char *stub_text(const char *what) {
  if (!strcmp(what, "connection_name")) return connection_name;
  if (!strcmp(what, "cipher_spec")) return cipher_spec;
  if (!strcmp(what, "key_repository")) return key_repository;
  return broken_rules;
}

/* The message at this place among those of a queue, or NULL. */
const char *stub_read(const char *queue, int place, size_t *length) {
  pthread_mutex_lock(&lock);
  Message *one = arrived;
  while (one && (strcmp(one->queue, queue) || place-- > 0)) one = one->next;
  *length = one ? one->kept.length : 0;
  const char *bytes = one ? one->kept.bytes : NULL;
  pthread_mutex_unlock(&lock);
  return bytes;
}
