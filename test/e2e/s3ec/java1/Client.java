import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.kms.AWSKMS;
import com.amazonaws.services.kms.AWSKMSClientBuilder;
import com.amazonaws.services.s3.AmazonS3;
import com.amazonaws.services.s3.AmazonS3EncryptionClientBuilder;
import com.amazonaws.services.s3.AmazonS3EncryptionClientV2Builder;
import com.amazonaws.services.s3.model.CompleteMultipartUploadRequest;
import com.amazonaws.services.s3.model.CryptoConfiguration;
import com.amazonaws.services.s3.model.CryptoConfigurationV2;
import com.amazonaws.services.s3.model.CryptoMode;
import com.amazonaws.services.s3.model.CryptoStorageMode;
import com.amazonaws.services.s3.model.EncryptionMaterials;
import com.amazonaws.services.s3.model.InitiateMultipartUploadRequest;
import com.amazonaws.services.s3.model.KMSEncryptionMaterials;
import com.amazonaws.services.s3.model.ObjectMetadata;
import com.amazonaws.services.s3.model.PartETag;
import com.amazonaws.services.s3.model.PutObjectRequest;
import com.amazonaws.services.s3.model.StaticEncryptionMaterialsProvider;
import com.amazonaws.services.s3.model.UploadPartRequest;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.StandardCopyOption;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import javax.crypto.spec.SecretKeySpec;
import org.bouncycastle.jce.provider.BouncyCastleProvider;

/**
 * The encryption clients of the SDK for Java, version 1, as a program: see clients.ts for the jobs and the environment. Modes that begin
 * with v1 are of AmazonS3EncryptionClient: cbc is EncryptionOnly, gcm AuthenticatedEncryption, strict StrictAuthenticatedEncryption. Those
 * with v2 are of AmazonS3EncryptionClientV2.
 */
@SuppressWarnings("deprecation")
public class Client {
    static final long PART = 5 << 20;
    static final Map<String, String> ENV = System.getenv();
    static final Map<String, AmazonS3> CLIENTS = new HashMap<>();
    static KeyPair rsa;

    static List<String> modes() {
        List<String> all = new ArrayList<>();
        for (String version : List.of("v1-cbc", "v1-gcm", "v1-strict", "v2")) {
            for (String wrap : List.of("aes", "rsa", "kms")) {
                all.add(version + "-" + wrap);
                if (version.equals("v1-strict")) continue;
                all.add(version + "-" + wrap + "+file");
                all.add(version + "-" + wrap + "+parts");
            }
        }
        all.add("v1-cbc-aes+described");
        all.add("v1-gcm-aes+described");
        // The ciphers of Bouncy Castle: its OAEP has another MGF1. Its "RSA", in cbc, has no padding at all and is no mode here.
        all.add("v1-gcm-rsa+bc");
        return all;
    }

    static EncryptionMaterials materials(String mode) {
        if (mode.contains("-kms")) return new KMSEncryptionMaterials(ENV.get("S3EC_KMS_KEY"));
        if (mode.contains("-rsa")) return new EncryptionMaterials(rsa);
        boolean second = mode.contains("+described");
        EncryptionMaterials aes = new EncryptionMaterials(new SecretKeySpec(HexFormat.of().parseHex(ENV.get(second ? "S3EC_AES_2" : "S3EC_AES")), "AES"));
        return second ? aes.addDescription("name", "second") : aes;
    }

    static AmazonS3 client(String mode) {
        EndpointConfiguration store = new EndpointConfiguration(ENV.get("S3EC_STORE"), ENV.get("AWS_REGION"));
        AWSKMS kms = AWSKMSClientBuilder.standard().withEndpointConfiguration(new EndpointConfiguration(ENV.get("S3EC_KMS"), ENV.get("AWS_REGION"))).build();
        CryptoStorageMode storage = mode.contains("+file") ? CryptoStorageMode.InstructionFile : CryptoStorageMode.ObjectMetadata;
        StaticEncryptionMaterialsProvider materials = new StaticEncryptionMaterialsProvider(materials(mode));
        if (mode.startsWith("v2")) {
            return AmazonS3EncryptionClientV2Builder.standard().withEndpointConfiguration(store).withPathStyleAccessEnabled(true).withKmsClient(kms)
                .withCryptoConfiguration(new CryptoConfigurationV2(CryptoMode.StrictAuthenticatedEncryption).withStorageMode(storage))
                .withEncryptionMaterialsProvider(materials).build();
        }
        CryptoMode crypto = mode.startsWith("v1-cbc") ? CryptoMode.EncryptionOnly
            : mode.startsWith("v1-gcm") ? CryptoMode.AuthenticatedEncryption : CryptoMode.StrictAuthenticatedEncryption;
        CryptoConfiguration configuration = new CryptoConfiguration(crypto).withStorageMode(storage);
        if (mode.contains("+bc")) configuration.withCryptoProvider(new BouncyCastleProvider()).withAlwaysUseCryptoProvider(true);
        return AmazonS3EncryptionClientBuilder.standard().withEndpointConfiguration(store).withPathStyleAccessEnabled(true).withKmsClient(kms)
            .withCryptoConfiguration(configuration).withEncryptionMaterials(materials).build();
    }

    static void parts(AmazonS3 s3, String bucket, String key, File file) {
        String id = s3.initiateMultipartUpload(new InitiateMultipartUploadRequest(bucket, key)).getUploadId();
        List<PartETag> done = new ArrayList<>();
        long size = file.length();
        for (long offset = 0, number = 1; number == 1 || offset < size; offset += PART, number++) {
            long length = Math.min(PART, size - offset);
            done.add(s3.uploadPart(new UploadPartRequest().withBucketName(bucket).withKey(key).withUploadId(id).withPartNumber((int) number)
                .withFile(file).withFileOffset(offset).withPartSize(length).withLastPart(offset + length == size)).getPartETag());
        }
        s3.completeMultipartUpload(new CompleteMultipartUploadRequest(bucket, key, id, done));
    }

    static void job(String operation, String mode, String bucket, String key, File file) throws Exception {
        AmazonS3 s3 = CLIENTS.computeIfAbsent(mode, Client::client);
        if (operation.equals("get")) {
            try (var in = s3.getObject(bucket, key).getObjectContent()) {
                Files.copy(in, file.toPath(), StandardCopyOption.REPLACE_EXISTING);
            }
        } else if (mode.contains("+parts")) {
            parts(s3, bucket, key, file);
        } else {
            ObjectMetadata metadata = new ObjectMetadata();
            metadata.addUserMetadata("of", "the client");
            metadata.setContentType("text/x-test");
            s3.putObject(new PutObjectRequest(bucket, key, file).withMetadata(metadata));
        }
    }

    public static void main(String[] none) throws Exception {
        KeyFactory factory = KeyFactory.getInstance("RSA");
        rsa = new KeyPair(
            factory.generatePublic(new X509EncodedKeySpec(Base64.getDecoder().decode(ENV.get("S3EC_RSA_PUBLIC")))),
            factory.generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(ENV.get("S3EC_RSA")))));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = in.readLine()) != null;) {
            String[] words = line.split("\t", -1);
            if (words[0].equals("modes")) {
                System.out.println(String.join("\t", modes()));
                continue;
            }
            try {
                job(words[0], words[1], words[2], words[3], new File(words[4]));
                System.out.println("ok");
            } catch (Throwable error) {
                String text = error + (error.getCause() == null ? "" : " / " + error.getCause());
                System.out.println("failed: " + text.replace('\n', ' ').substring(0, Math.min(300, text.length())));
            }
        }
        System.exit(0);
    }
}
