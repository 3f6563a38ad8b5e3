// Java's HttpClient. Reads the cases from standard input, prints a line for each answer.
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;

class Client {
    static String folder;
    static char[] password;

    public static void main(String[] arguments) throws Exception {
        folder = arguments[0];
        password = arguments[1].toCharArray();
        var input = new BufferedReader(new InputStreamReader(System.in));
        for (int left = Integer.parseInt(arguments[2]); left > 0; left--) {
            String[] fields = input.readLine().split("\t");
            try {
                ask(fields[0], fields[1], fields[2], fields[3], fields[4], fields[5]);
            } catch (Exception error) {
                var text = new StringBuilder();
                for (Throwable cause = error; cause != null; cause = cause.getCause()) text.append(cause).append("; ");
                tell(fields[0], "failed", text.toString());
            }
        }
        System.exit(0);
    }

    static void tell(String... fields) {
        var line = new StringBuilder(fields[0]);
        for (int i = 1; i < fields.length; i++) line.append('\t').append(fields[i].replaceAll("[\t\r\n]", " "));
        System.out.println(line);
    }

    static void ask(String path, String port, String version, String http, String who, String what) throws Exception {
        var parameters = new SSLParameters();
        parameters.setProtocols(new String[] {"TLSv" + version});
        var client = HttpClient.newBuilder()
            .sslContext(context(who))
            .sslParameters(parameters)
            .version(http.equals("2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1)
            .connectTimeout(Duration.ofSeconds(20))
            .build();
        for (String each : what.equals("Twice") ? List.of(path, path + "/again") : List.of(path)) {
            // What Java before 21 waits for does not come, so there is no point in being patient.
            boolean stalls = what.equals("Upload") && http.equals("2");
            var builder = HttpRequest.newBuilder(URI.create("https://localhost:" + port + each)).timeout(Duration.ofSeconds(stalls ? 3 : 20));
            var request = what.equals("Upload")
                ? builder.POST(HttpRequest.BodyPublishers.ofByteArray(new byte[8 << 20])).build()
                : builder.GET().build();
            var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            tell(path, "" + answer.statusCode(), answer.headers().firstValue("content-type").orElse(""), answer.body());
        }
    }

    static SSLContext context(String who) throws Exception {
        var trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        try (InputStream file = new FileInputStream(folder + "/ca.crt")) {
            trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        var context = SSLContext.getInstance("TLS");
        context.init(who.equals("-") ? null : keys(who), trust.getTrustManagers(), null);
        return context;
    }

    static final Map<String, KeyManager[]> KEYS = new HashMap<>();

    /** Opening a PKCS#12 file takes long on purpose, so each is opened once; some in the form for old readers. */
    static KeyManager[] keys(String who) throws Exception {
        if (!KEYS.containsKey(who)) {
            var store = KeyStore.getInstance("PKCS12");
            String end = who.equals("p384") || who.equals("rsa2048") ? ".old.p12" : ".p12";
            try (InputStream file = new FileInputStream(folder + "/clients/" + who + end)) {
                store.load(file, password);
            }
            var factory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            factory.init(store, password);
            KEYS.put(who, factory.getKeyManagers());
        }
        return KEYS.get(who);
    }
}
