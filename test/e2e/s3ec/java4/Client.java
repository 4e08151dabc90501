import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
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
import java.util.function.Consumer;
import javax.crypto.spec.SecretKeySpec;
import software.amazon.awssdk.core.ResponseInputStream;
import software.amazon.awssdk.core.checksums.RequestChecksumCalculation;
import software.amazon.awssdk.core.checksums.ResponseChecksumValidation;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.core.sync.ResponseTransformer;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.GetObjectResponse;
import software.amazon.awssdk.services.s3.model.SdkPartType;
import software.amazon.encryption.s3.CommitmentPolicy;
import software.amazon.encryption.s3.S3EncryptionClient;
import software.amazon.encryption.s3.algorithms.AlgorithmSuite;
import software.amazon.encryption.s3.internal.InstructionFileConfig;
import software.amazon.encryption.s3.internal.ReEncryptInstructionFileRequest;
import software.amazon.encryption.s3.materials.AesKeyring;
import software.amazon.encryption.s3.materials.Keyring;
import software.amazon.encryption.s3.materials.KmsKeyring;
import software.amazon.encryption.s3.materials.MaterialsDescription;
import software.amazon.encryption.s3.materials.PartialRsaKeyPair;
import software.amazon.encryption.s3.materials.RawKeyring;
import software.amazon.encryption.s3.materials.RsaKeyring;

/** The S3 Encryption Client for Java, version 4, as a program: see clients.ts for the jobs and the environment. */
public class Client {
    static final int PART = 5 << 20;
    static final Map<String, String> ENV = System.getenv();
    static final Map<String, String> CONTEXT = Map.of("purpose", "test", "team", "blue, green");
    static final Map<String, S3EncryptionClient> CLIENTS = new HashMap<>();
    static KeyPair rsa;

    static List<String> modes() {
        List<String> all = new ArrayList<>();
        for (String version : List.of("v3", "v2")) {
            for (String wrap : List.of("aes", "rsa", "kms")) {
                for (String more : List.of("", "+parts", "+file")) all.add(version + "-" + wrap + more);
            }
            all.add(version + "-kms+context");
            all.add(version + "-aes+described");
            all.add(version + "-aes+file+rotated");
            all.add(version + "-rsa+file+suffix");
        }
        return all;
    }

    static SecretKeySpec aes(String variable) {
        return new SecretKeySpec(HexFormat.of().parseHex(ENV.get(variable)), "AES");
    }

    static final MaterialsDescription SECOND = MaterialsDescription.builder().put("name", "second").build();

    static Keyring keyring(String mode) {
        if (mode.contains("-kms")) {
            KmsClient kms = KmsClient.builder().endpointOverride(URI.create(ENV.get("S3EC_KMS"))).region(Region.of(ENV.get("AWS_REGION"))).build();
            return KmsKeyring.builder().kmsClient(kms).wrappingKeyId(ENV.get("S3EC_KMS_KEY")).enableLegacyWrappingAlgorithms(true).build();
        }
        if (mode.contains("-rsa")) {
            return RsaKeyring.builder().wrappingKeyPair(new PartialRsaKeyPair(rsa)).enableLegacyWrappingAlgorithms(true).build();
        }
        AesKeyring.Builder aes = AesKeyring.builder().enableLegacyWrappingAlgorithms(true);
        // A material description that names the key: the second of the two AES keys.
        if (mode.contains("+described")) return aes.wrappingKey(aes("S3EC_AES_2")).materialsDescription(SECOND).build();
        return aes.wrappingKey(aes("S3EC_AES")).build();
    }

    static S3EncryptionClient client(String mode) {
        URI store = URI.create(ENV.get("S3EC_STORE"));
        Region region = Region.of(ENV.get("AWS_REGION"));
        S3Client plain = S3Client.builder().endpointOverride(store).region(region).forcePathStyle(true)
            .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED).responseChecksumValidation(ResponseChecksumValidation.WHEN_REQUIRED).build();
        S3AsyncClient async = S3AsyncClient.builder().endpointOverride(store).region(region).forcePathStyle(true)
            .requestChecksumCalculation(RequestChecksumCalculation.WHEN_REQUIRED).responseChecksumValidation(ResponseChecksumValidation.WHEN_REQUIRED).build();
        boolean v3 = mode.startsWith("v3");
        return S3EncryptionClient.builderV4().wrappedClient(plain).wrappedAsyncClient(async).keyring(keyring(mode))
            .instructionFileConfig(InstructionFileConfig.builder().instructionFileClient(plain).enableInstructionFilePutObject(mode.contains("+file")).build())
            .encryptionAlgorithm(v3 ? AlgorithmSuite.ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY : AlgorithmSuite.ALG_AES_256_GCM_IV12_TAG16_NO_KDF)
            .commitmentPolicy(v3 ? CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT : CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
            .enableLegacyUnauthenticatedModes(true).enableDelayedAuthenticationMode(true).build();
    }

    static void parts(S3EncryptionClient s3, String bucket, String key, Path file) throws Exception {
        String id = s3.createMultipartUpload(b -> b.bucket(bucket).key(key)).uploadId();
        long size = Files.size(file);
        List<CompletedPart> done = new ArrayList<>();
        try (var in = Files.newInputStream(file)) {
            long left = size;
            for (int number = 1; number == 1 || left > 0; number++) {
                byte[] part = in.readNBytes((int) Math.min(PART, left));
                left -= part.length;
                int n = number;
                boolean last = left == 0;
                String tag = s3.uploadPart(b -> {
                    b.bucket(bucket).key(key).uploadId(id).partNumber(n).contentLength((long) part.length);
                    if (last) b.sdkPartType(SdkPartType.LAST);
                }, RequestBody.fromBytes(part)).eTag();
                done.add(CompletedPart.builder().partNumber(n).eTag(tag).build());
            }
        }
        s3.completeMultipartUpload(b -> b.bucket(bucket).key(key).uploadId(id).multipartUpload(m -> m.parts(done)));
    }

    static void reEncrypt(S3EncryptionClient s3, Consumer<ReEncryptInstructionFileRequest.Builder> request) {
        ReEncryptInstructionFileRequest.Builder builder = ReEncryptInstructionFileRequest.builder();
        request.accept(builder);
        s3.reEncryptInstructionFile(builder.build());
    }

    static void job(String operation, String mode, String bucket, String key, String file) throws Exception {
        S3EncryptionClient s3 = CLIENTS.computeIfAbsent(mode, Client::client);
        boolean context = mode.contains("+context");
        Path path = Path.of(file);
        if (operation.equals("get")) {
            // Of a rotated object the second key is the one that opens.
            S3EncryptionClient reader = mode.contains("+rotated") ? CLIENTS.computeIfAbsent(mode.replace("+rotated", "+described"), Client::client) : s3;
            ResponseTransformer<GetObjectResponse, ResponseInputStream<GetObjectResponse>> stream = ResponseTransformer.toInputStream();
            try (var in = reader.getObject(b -> {
                b.bucket(bucket).key(key);
                if (context) b.overrideConfiguration(S3EncryptionClient.withAdditionalConfiguration(CONTEXT));
                if (mode.contains("+suffix")) b.overrideConfiguration(S3EncryptionClient.withCustomInstructionFileSuffix(".second"));
            }, stream); var out = Files.newOutputStream(path)) {
                in.transferTo(out);
            }
        } else if (mode.contains("+parts")) {
            parts(s3, bucket, key, path);
        } else {
            s3.putObject(b -> {
                b.bucket(bucket).key(key).metadata(Map.of("of", "the client")).contentType("text/x-test");
                if (context) b.overrideConfiguration(S3EncryptionClient.withAdditionalConfiguration(CONTEXT));
            }, RequestBody.fromFile(path));
            // The instruction file is replaced by one for the second AES key.
            if (mode.contains("+rotated")) reEncrypt(s3, b -> b.bucket(bucket).key(key).newKeyring((RawKeyring) keyring("aes+described")));
            // A second instruction file: the same pair, another material description.
            if (mode.contains("+suffix")) {
                RsaKeyring again = RsaKeyring.builder().wrappingKeyPair(new PartialRsaKeyPair(rsa)).materialsDescription(SECOND).build();
                reEncrypt(s3, b -> b.bucket(bucket).key(key).newKeyring(again).instructionFileSuffix("second"));
            }
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
                job(words[0], words[1], words[2], words[3], words[4]);
                System.out.println("ok");
            } catch (Throwable error) {
                String text = error + (error.getCause() == null ? "" : " / " + error.getCause());
                System.out.println("failed: " + text.replace('\n', ' ').substring(0, Math.min(300, text.length())));
            }
        }
        System.exit(0);
    }
}
