import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;

/** The client-side encryption of Hadoop's S3A as a program: see clients.ts for the jobs and the environment. */
public class Client {
    static Configuration configuration() throws Exception {
        Configuration settings = new Configuration(false);
        settings.addResource("core-default.xml");
        settings.set("fs.s3a.endpoint", System.getenv("S3EC_STORE"));
        settings.set("fs.s3a.endpoint.region", System.getenv("AWS_REGION"));
        settings.set("fs.s3a.path.style.access", "true");
        settings.set("fs.s3a.connection.ssl.enabled", "false");
        settings.set("fs.s3a.change.detection.mode", "none");
        // Otherwise S3A removes the name of each parent, with a "/" behind it, after every write. versitygw keeps a folder there and answers
        // ErrDirectoryNotEmpty, and S3A tries again for minutes.
        settings.set("fs.s3a.directory.marker.retention", "keep");
        settings.set("fs.s3a.access.key", System.getenv("AWS_ACCESS_KEY_ID"));
        settings.set("fs.s3a.secret.key", System.getenv("AWS_SECRET_ACCESS_KEY"));
        settings.set("fs.s3a.encryption.algorithm", "CSE-KMS");
        settings.set("fs.s3a.encryption.key", System.getenv("S3EC_KMS_KEY"));
        settings.set("fs.s3a.encryption.cse.kms.region", System.getenv("AWS_REGION"));
        settings.set("fs.s3a.multipart.size", "5M");
        settings.set("fs.s3a.multipart.threshold", "64M");
        settings.set("hadoop.tmp.dir", System.getProperty("java.io.tmpdir"));
        return settings;
    }

    /** S3A takes the endpoint of KMS from the SDK's list of regions alone. */
    static void pointToKms() throws Exception {
        String host = URI.create(System.getenv("S3EC_KMS")).getAuthority();
        Path file = Files.createTempFile("regions", ".xml");
        Files.writeString(file, "<XML><Regions><Region><Name>" + System.getenv("AWS_REGION") + "</Name><Endpoint><ServiceName>kms</ServiceName><Http>true</Http><Https>false</Https><Hostname>"
            + host + "</Hostname></Endpoint></Region></Regions></XML>");
        file.toFile().deleteOnExit();
        System.setProperty("com.amazonaws.regions.RegionUtils.fileOverride", file.toString());
    }

    public static void main(String[] none) throws Exception {
        pointToKms();
        Configuration settings = configuration();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = in.readLine()) != null;) {
            String[] words = line.split("\t", -1);
            if (words[0].equals("modes")) {
                System.out.println("v2-kms");
                continue;
            }
            try {
                FileSystem files = FileSystem.get(URI.create("s3a://" + words[2] + "/"), settings);
                var path = new org.apache.hadoop.fs.Path("/" + words[3]);
                if (words[0].equals("get")) {
                    try (var from = files.open(path)) {
                        Files.copy(from, Path.of(words[4]), java.nio.file.StandardCopyOption.REPLACE_EXISTING);
                    }
                } else {
                    try (var to = files.create(path, true)) {
                        Files.copy(Path.of(words[4]), to);
                    }
                }
                System.out.println("ok");
            } catch (Throwable error) {
                String text = error + (error.getCause() == null ? "" : " / " + error.getCause());
                System.out.println("failed: " + text.replace('\n', ' ').substring(0, Math.min(300, text.length())));
            }
        }
        System.exit(0);
    }
}
