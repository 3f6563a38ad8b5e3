import java.io.FileInputStream;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CertificateRevokedException;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.X509CRL;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import javax.net.ssl.CertPathTrustManagerParameters;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/**
 * Verifies chains as a Java server or client does it in a handshake (PKIX, usage, revocation by lists). Reads lines of
 * name, "server" or "client", chain, trust anchor and lists, with tabs between them; writes the name, a tab, and "ok",
 * "revoked" and why, or what was said against it.
 */
public final class PathValidation {
    public static void main(String[] arguments) throws Exception {
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            String[] cells = line.split("\t");
            System.out.println(cells[0] + "\t" + verdict(cells));
        }
    }

    private static String verdict(String[] cells) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        X509Certificate[] chain = certificates(factory, cells[2]).toArray(new X509Certificate[0]);
        KeyStore anchors = KeyStore.getInstance("PKCS12");
        anchors.load(null, null);
        for (X509Certificate anchor : certificates(factory, cells[3])) {
            anchors.setCertificateEntry(anchor.getSerialNumber().toString(16), anchor);
        }
        Collection<X509CRL> lists = new ArrayList<>();
        for (int cell = 4; cell < cells.length; cell++) {
            try (InputStream file = new FileInputStream(cells[cell])) {
                factory.generateCRLs(file).forEach(list -> lists.add((X509CRL) list));
            }
        }
        PKIXBuilderParameters parameters = new PKIXBuilderParameters(anchors, new X509CertSelector());
        parameters.setRevocationEnabled(true);
        parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(lists)));
        TrustManagerFactory managers = TrustManagerFactory.getInstance("PKIX");
        managers.init(new CertPathTrustManagerParameters(parameters));
        X509TrustManager manager = (X509TrustManager) managers.getTrustManagers()[0];
        String key = chain[0].getPublicKey().getAlgorithm();
        try {
            if (cells[1].equals("server")) {
                manager.checkServerTrusted(chain, key.equals("RSA") ? "ECDHE_RSA" : "ECDHE_ECDSA");
            } else {
                manager.checkClientTrusted(chain, key);
            }
            return "ok";
        } catch (java.security.cert.CertificateException refused) {
            for (Throwable cause = refused; cause != null; cause = cause.getCause()) {
                if (cause instanceof CertificateRevokedException revoked) {
                    return "revoked " + revoked.getRevocationReason();
                }
                if (cause instanceof CertPathValidatorException failed && failed.getCause() == null) {
                    return failed.getMessage();
                }
            }
            return String.valueOf(refused);
        }
    }

    private static List<X509Certificate> certificates(CertificateFactory factory, String path) throws Exception {
        List<X509Certificate> read = new ArrayList<>();
        try (InputStream file = new FileInputStream(path)) {
            factory.generateCertificates(file).forEach(certificate -> read.add((X509Certificate) certificate));
        }
        return read;
    }
}
