import com.doubletext.v1.CreateRunRequest;
import com.doubletext.v1.ErrorReason;
import com.doubletext.v1.RunServiceGrpc;
import io.grpc.Channel;

/** Calls through what is generated for Java. */
final class Client {
  static final String BUSY = ErrorReason.ERROR_REASON_THREAD_BUSY.name().substring("ERROR_REASON_".length());

  static String create(Channel channel) {
    CreateRunRequest request = CreateRunRequest.newBuilder().setThreadId("t").setAssistantId("agent").build();
    return RunServiceGrpc.newBlockingStub(channel).createRun(request).getRun().getRunId();
  }
}
