import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Scanner;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The order join on Kafka Streams: orders matched with rules, each order's newest state kept in RocksDB and in
 * its changelog, hits to the timers topic, joined there with the customers' consents, what may go to the sends
 * topic. Controlled by lines on standard input: "pause", "resume", "stop".
 *
 * Arguments: bootstrap, prefix, json|avro, match|join, threads, folder (rules.csv, *.avsc, ids.csv in it).
 */
public final class OrderJoin {
    /** What the job needs of a change; how it is read depends on the format. */
    record Change(String company, String entity, String event, long version, String before, String after,
                  String customer) {}

    record Timer(String company, String customer, String entity, String rule, String event) {}

    record Consent(boolean agreed, String phone) {}

    interface Format {
        Change change(byte[] raw) throws IOException;

        byte[] timer(Change change, String rule, byte[] raw) throws IOException;

        Timer readTimer(byte[] raw) throws IOException;

        Consent consent(byte[] raw) throws IOException;

        byte[] send(Timer timer, String phone) throws IOException;
    }

    // --- JSON

    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class JsonFacts {
        public String status_id;
        public String customer_id = "";
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class JsonChange {
        public String company;
        public String entity_id;
        public String event_id;
        public long version;
        public JsonFacts before;
        public JsonFacts after;
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class JsonTimer {
        public String company;
        public String customer_id;
        public String entity_id;
        public String rule_id;
        public String event_id;
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class JsonCustomer {
        public String phone = "";
        public boolean sms_consent;
    }

    public static final class JsonSend {
        public String company;
        public String customer_id;
        public String entity_id;
        public String rule_id;
        public String event_id;
        public String phone;
    }

    static final class Json implements Format {
        private final ObjectMapper mapper = new ObjectMapper();
        private final ObjectReader changes = mapper.readerFor(JsonChange.class);
        private final ObjectReader timers = mapper.readerFor(JsonTimer.class);
        private final ObjectReader customers = mapper.readerFor(JsonCustomer.class);

        public Change change(byte[] raw) throws IOException {
            JsonChange read = changes.readValue(raw);
            String before = read.before == null ? null : read.before.status_id;
            return new Change(read.company, read.entity_id, read.event_id, read.version, before,
                read.after.status_id, read.after.customer_id);
        }

        /** The fields of the timer, and the change as it came. */
        public byte[] timer(Change change, String rule, byte[] raw) {
            String head = "{\"company\":\"" + change.company + "\",\"customer_id\":\"" + change.customer
                + "\",\"entity_id\":\"" + change.entity + "\",\"rule_id\":\"" + rule + "\",\"event_id\":\""
                + change.event + "\",\"entity_version\":" + change.version + ",\"change\":";
            byte[] bytes = head.getBytes(StandardCharsets.UTF_8);
            ByteBuffer whole = ByteBuffer.allocate(bytes.length + raw.length + 1);
            return whole.put(bytes).put(raw).put((byte) '}').array();
        }

        public Timer readTimer(byte[] raw) throws IOException {
            JsonTimer read = timers.readValue(raw);
            return new Timer(read.company, read.customer_id, read.entity_id, read.rule_id, read.event_id);
        }

        public Consent consent(byte[] raw) throws IOException {
            JsonCustomer read = customers.readValue(raw);
            return new Consent(read.sms_consent, read.phone);
        }

        public byte[] send(Timer timer, String phone) throws IOException {
            JsonSend send = new JsonSend();
            send.company = timer.company;
            send.customer_id = timer.customer;
            send.entity_id = timer.entity;
            send.rule_id = timer.rule;
            send.event_id = timer.event;
            send.phone = phone;
            return mapper.writeValueAsBytes(send);
        }
    }

    // --- Avro in Confluent's wire format: a zero, four bytes of schema id, the record

    static final class Avro implements Format {
        private final Schema timerSchema;
        private final Schema sendSchema;
        private final Schema opSchema;
        private final GenericDatumReader<GenericRecord> changes;
        private final GenericDatumReader<GenericRecord> timers;
        private final GenericDatumReader<GenericRecord> customers;
        private final GenericDatumWriter<GenericRecord> timerWriter;
        private final GenericDatumWriter<GenericRecord> sendWriter;
        private final int timerId;
        private final int sendId;
        private BinaryDecoder decoder;
        private BinaryEncoder encoder;

        Avro(Path folder) throws IOException {
            timerSchema = schema(folder, "timer");
            sendSchema = schema(folder, "send");
            opSchema = timerSchema.getField("op").schema();
            changes = reader(schema(folder, "order-change"));
            timers = reader(timerSchema);
            customers = reader(schema(folder, "customer"));
            timerWriter = new GenericDatumWriter<>(timerSchema);
            sendWriter = new GenericDatumWriter<>(sendSchema);
            Map<String, Integer> ids = new HashMap<>();
            for (String line : Files.readAllLines(folder.resolve("ids.csv"))) {
                String[] parts = line.split(",");
                ids.put(parts[0], Integer.parseInt(parts[1]));
            }
            timerId = ids.get("timer");
            sendId = ids.get("send");
        }

        private static Schema schema(Path folder, String name) throws IOException {
            return new Schema.Parser().parse(new File(folder.toFile(), name + ".avsc"));
        }

        private static GenericDatumReader<GenericRecord> reader(Schema schema) {
            return new GenericDatumReader<>(schema);
        }

        private GenericRecord read(GenericDatumReader<GenericRecord> reader, byte[] raw) throws IOException {
            decoder = DecoderFactory.get().binaryDecoder(raw, 5, raw.length - 5, decoder);
            return reader.read(null, decoder);
        }

        private byte[] write(GenericDatumWriter<GenericRecord> writer, GenericRecord record, int id)
            throws IOException {
            ByteArrayOutputStream out = new ByteArrayOutputStream(256);
            out.write(0);
            out.write(ByteBuffer.allocate(4).putInt(id).array());
            encoder = EncoderFactory.get().directBinaryEncoder(out, encoder);
            writer.write(record, encoder);
            encoder.flush();
            return out.toByteArray();
        }

        private static String text(GenericRecord record, String field) {
            return record.get(field).toString();
        }

        public Change change(byte[] raw) throws IOException {
            GenericRecord read = read(changes, raw);
            GenericRecord before = (GenericRecord) read.get("before");
            GenericRecord after = (GenericRecord) read.get("after");
            return new Change(text(read, "company"), text(read, "entity_id"), text(read, "event_id"),
                (Long) read.get("version"), before == null ? null : text(before, "status_id"),
                text(after, "status_id"), text(after, "customer_id"));
        }

        public byte[] timer(Change change, String rule, byte[] raw) throws IOException {
            GenericRecord timer = new GenericData.Record(timerSchema);
            for (Schema.Field field : timerSchema.getFields()) {
                if (field.hasDefaultValue()) {
                    timer.put(field.pos(), GenericData.get().getDefaultValue(field));
                }
            }
            timer.put("op", new GenericData.EnumSymbol(opSchema, "arm"));
            timer.put("company", change.company);
            timer.put("kind", new GenericData.EnumSymbol(timerSchema.getField("kind").schema(), "order"));
            timer.put("entity_id", change.entity);
            timer.put("customer_id", change.customer);
            timer.put("entity_version", change.version);
            timer.put("rule_id", rule);
            timer.put("event_id", change.event);
            timer.put("anchor", change.event);
            timer.put("status_id", change.after);
            timer.put("change", ByteBuffer.wrap(raw));
            return write(timerWriter, timer, timerId);
        }

        public Timer readTimer(byte[] raw) throws IOException {
            GenericRecord read = read(timers, raw);
            return new Timer(text(read, "company"), text(read, "customer_id"), text(read, "entity_id"),
                text(read, "rule_id"), text(read, "event_id"));
        }

        public Consent consent(byte[] raw) throws IOException {
            GenericRecord read = read(customers, raw);
            return new Consent((Boolean) read.get("sms_consent"), text(read, "phone"));
        }

        public byte[] send(Timer timer, String phone) throws IOException {
            GenericRecord send = new GenericData.Record(sendSchema);
            send.put("company", timer.company);
            send.put("customer_id", timer.customer);
            send.put("entity_id", timer.entity);
            send.put("rule_id", timer.rule);
            send.put("event_id", timer.event);
            send.put("phone", phone);
            return write(sendWriter, send, sendId);
        }
    }

    // --- the topology

    /** Newest state of each order: its version in eight bytes, then the change as it came. */
    static final class Match implements Processor<String, byte[], String, byte[]> {
        private final Format format;
        private final Map<String, String> rules;
        private ProcessorContext<String, byte[]> context;
        private KeyValueStore<String, byte[]> entities;

        Match(Format format, Map<String, String> rules) {
            this.format = format;
            this.rules = rules;
        }

        @Override
        public void init(ProcessorContext<String, byte[]> context) {
            this.context = context;
            this.entities = context.getStateStore("entities");
        }

        @Override
        public void process(Record<String, byte[]> record) {
            try {
                byte[] raw = record.value();
                Change change = format.change(raw);
                byte[] known = entities.get(record.key());
                if (known != null && ByteBuffer.wrap(known).getLong() >= change.version) {
                    return;
                }
                String before = change.before;
                if (before == null && known != null) {
                    byte[] last = new byte[known.length - 8];
                    System.arraycopy(known, 8, last, 0, last.length);
                    before = format.change(last).after;
                }
                ByteBuffer state = ByteBuffer.allocate(8 + raw.length);
                entities.put(record.key(), state.putLong(change.version).put(raw).array());
                if (before == null || before.equals(change.after)) {
                    return;
                }
                String rule = rules.get(change.company + "/" + change.after);
                if (rule != null) {
                    String key = change.company + "/" + change.customer;
                    context.forward(record.withKey(key).withValue(format.timer(change, rule, raw)));
                }
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }

    private static byte[] joined(Format format, byte[] timer, byte[] customer) {
        try {
            Consent consent = format.consent(customer);
            return consent.agreed ? format.send(format.readTimer(timer), consent.phone) : null;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static Format format(String name, Path folder) {
        try {
            return name.equals("avro") ? new Avro(folder) : new Json();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String prefix = arguments[1];
        String format = arguments[2];
        Path folder = Path.of(arguments[5]);
        Map<String, String> rules = new HashMap<>();
        for (String line : Files.readAllLines(folder.resolve("rules.csv"))) {
            String[] parts = line.split(",");
            rules.put(parts[0] + "/" + parts[1], parts[2]);
        }
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, prefix + "join");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder.resolve("state").toString());
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, arguments[4]);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.producerPrefix("compression.type"), "lz4");

        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore("entities"), Serdes.String(), Serdes.ByteArray()));
        Consumed<String, byte[]> read = Consumed.with(Serdes.String(), Serdes.ByteArray());
        Produced<String, byte[]> write = Produced.with(Serdes.String(), Serdes.ByteArray());
        // One of each for every task: tasks never share a thread's buffers.
        builder.stream(prefix + "orders", read)
            .process(() -> new Match(format(format, folder), rules), "entities")
            .to(prefix + "timers", write);
        if (arguments[3].equals("join")) {
            KTable<String, byte[]> consents = builder.table(prefix + "customer-consents", read,
                Materialized.with(Serdes.String(), Serdes.ByteArray()));
            ThreadLocal<Format> own = ThreadLocal.withInitial(() -> format(format, folder));
            builder.stream(prefix + "timers", read)
                .join(consents, (timer, customer) -> joined(own.get(), timer, customer))
                .filter((key, send) -> send != null)
                .to(prefix + "sends", write);
        }
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            System.exit(1);
            return null;
        });
        streams.start();
        Scanner wishes = new Scanner(System.in);
        System.out.println("started");
        while (wishes.hasNextLine()) {
            String wish = wishes.nextLine();
            if (wish.equals("pause")) {
                streams.pause();
            } else if (wish.equals("resume")) {
                streams.resume();
            } else {
                break;
            }
            System.out.println(wish);
        }
        streams.close();
        System.exit(0);
    }
}
