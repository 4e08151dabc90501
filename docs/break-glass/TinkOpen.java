import com.google.crypto.tink.InsecureSecretKeyAccess;
import com.google.crypto.tink.RegistryConfiguration;
import com.google.crypto.tink.StreamingAead;
import com.google.crypto.tink.TinkJsonProtoKeysetFormat;
import com.google.crypto.tink.streamingaead.StreamingAeadConfig;
import java.io.ByteArrayInputStream;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Opens the streams of one stored body with Google's Tink: TinkOpen KEYSET STREAMS BODY > PLAINTEXT. Arguments as of tink_open.py. */
public final class TinkOpen {
  private static final Pattern STREAM =
      Pattern.compile("\\{\"offset\": (\\d+), \"size\": (\\d+), \"plaintext\": \\d+, \"associatedData\": \"([0-9a-f]+)\"\\}");

  public static void main(String[] args) throws Exception {
    StreamingAeadConfig.register();
    var keyset = TinkJsonProtoKeysetFormat.parseKeyset(Files.readString(Path.of(args[0])), InsecureSecretKeyAccess.get());
    var primitive = keyset.getPrimitive(RegistryConfiguration.get(), StreamingAead.class);
    try (var body = new RandomAccessFile(args[2], "r")) {
      for (String line : Files.readAllLines(Path.of(args[1]))) {
        Matcher stream = STREAM.matcher(line);
        if (!stream.matches()) throw new IllegalArgumentException(line);
        byte[] stored = new byte[Integer.parseInt(stream.group(2))];
        body.seek(Long.parseLong(stream.group(1)));
        body.readFully(stored);
        byte[] associatedData = HexFormat.of().parseHex(stream.group(3));
        try (var plaintext = primitive.newDecryptingStream(new ByteArrayInputStream(stored), associatedData)) {
          plaintext.transferTo(System.out);
        }
      }
    }
    System.out.flush();
  }
}
